import { SharedAccessSignature } from 'azure-iot-common';
import { expect, test } from 'vitest';
import { covers, isSignedWith, readSas } from '../../../../simulators/hub/identity/sas.ts';

const key = Buffer.alloc(32, 5).toString('base64');
const other = Buffer.alloc(32, 6).toString('base64');

function token(resource: string, policy?: string): string {
  return SharedAccessSignature.create(resource, policy as never, key, 4_000_000_000).toString();
}

test('readSas() takes the pairs in any order and signs the audience as it was sent', () => {
  const sent = token('HUB%2Fdevices%2fdev1');
  const pairs = sent.replace('SharedAccessSignature ', '').split('&');
  for (const order of [pairs, pairs.toReversed()]) {
    const sas = readSas(`SharedAccessSignature ${order.join('&')}`);
    expect(sas).toMatchObject({
      host: 'hub',
      path: ['devices', 'dev1'],
      policy: undefined,
      expiresMs: 4_000_000_000_000,
    });
    expect(isSignedWith(sas, [other, key])).toBe(true);
    expect(isSignedWith(sas, [other, null])).toBe(false);
  }
});

test('covers() compares whole segments, in any case', () => {
  const sas = readSas(token(encodeURIComponent('hub/devices/Dev1')));
  expect(covers(sas, ['devices', 'dev1', 'modules', 'm'])).toBe(true);
  expect(covers(sas, ['devices', 'dev1x'])).toBe(false);
  expect(covers(sas, ['devices'])).toBe(false);
  expect(
    covers(readSas(token(encodeURIComponent('hub/devices/d/modules/%24edgeAgent'))), [
      'devices',
      'd',
      'modules',
      '$edgeAgent',
    ]),
  ).toBe(true);
  expect(covers(readSas(token(encodeURIComponent('hub/devices/d/api-version=2016-11-14'))), ['devices', 'd'])).toBe(
    true,
  );
});

test.each([
  '',
  'Bearer x',
  'SharedAccessSignature ',
  'SharedAccessSignature sr=a&sig=b',
  'SharedAccessSignature sr=a&sig=b&se=x',
  'SharedAccessSignature sr=%zz&sig=b&se=1',
  `SharedAccessSignature sr=${'a'.repeat(5000)}&sig=b&se=1`,
])('readSas() refuses %.60j', (text) => {
  expect(() => readSas(text)).toThrow(/Unauthorized/);
});
