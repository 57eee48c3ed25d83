import { expect, test } from 'vitest';
import { withoutSecrets } from '../../agent/without-secrets.ts';

test('withoutSecrets() takes out what a module was given in confidence, and leaves the rest', () => {
  const environment = { API_KEY: 'xyzzy-plugh', WORD: 'hello-there', SHORT_KEY: 'abc' };
  const createOptions = { Env: ['DB_PASSWORD=open sesame', 'PLAIN'] };
  const text = 'hello-there: abc, xyzzy-plugh twice xyzzy-plugh, and open sesame';
  expect(withoutSecrets(text, { environment, createOptions })).toBe(
    'hello-there: abc, [secret] twice [secret], and [secret]',
  );
});

test.each([
  ['HostName=h;DeviceId=d;SharedAccessKey=abc123+/=', 'HostName=h;DeviceId=d;SharedAccessKey=[secret]'],
  [
    'GET https://a.blob.core.windows.net/c?sp=r&sig=Zm9v%3D&sv=1',
    'GET https://a.blob.core.windows.net/c?sp=r&sig=[secret]&sv=1',
  ],
  ['authorization: Bearer eyJhbGciOi.J9.x', 'authorization: Bearer [secret]'],
  ['cannot reach amqp://user:hunter2@broker:5672', 'cannot reach amqp://user:[secret]@broker:5672'],
  ['exit code 3 at digits.py:12', 'exit code 3 at digits.py:12'],
])('withoutSecrets() makes of %j %j', (text, expected) => {
  expect(withoutSecrets(text, { environment: {}, createOptions: {} })).toBe(expected);
});
