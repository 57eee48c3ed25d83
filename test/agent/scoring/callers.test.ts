import { createHmac } from 'node:crypto';
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { startScoring } from './scoring-rig.ts';

const [first, second, third] = ['first-key-of-service', 'second-key-of-service', 'third-key-of-service'];
const tokenSecret = 'a secret that signs tokens, and is long';

function bearer(credential: string): { headers: Record<string, string> } {
  return { headers: { authorization: `Bearer ${credential}` } };
}

function token(claims: object, secret = tokenSecret, header: object = { alg: 'HS256', typ: 'JWT' }): string {
  const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

test('with keys, only callers that have one pass; health stays open', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'keys.json');
  await writeFile(path, JSON.stringify({ keys: [first, second] }));
  await using rig = await startScoring({ environment: { MODELFERRY_KEYS_FILE: path } });
  const status = async (url: string, init?: RequestInit): Promise<number> => (await rig.fetch(url, init)).status;
  expect(await status('/swagger.json', bearer(first))).toBe(200);
  expect(await status('/swagger.json', bearer(second))).toBe(200);
  expect(await status('/swagger.json', bearer(third))).toBe(401);
  expect(await status('/metrics')).toBe(401);
  expect(await status('/v2/models/digits/infer', { method: 'POST' })).toBe(401);
  const refused = await rig.post('/score', {});
  expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
  expect(await status('/')).toBe(200);
  expect(await status('/v2/health/ready')).toBe(200);
});

test('keys are renewed without a restart; a bad file changes nothing', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'keys.json');
  await writeFile(path, JSON.stringify({ keys: [first, second] }));
  await using rig = await startScoring({ environment: { MODELFERRY_KEYS_FILE: path } });
  const status = async (key: string): Promise<number> => (await rig.fetch('/swagger.json', bearer(key))).status;
  await writeFile(path, JSON.stringify({ keys: [third, second] }));
  await until(async () => (await status(third)) === 200);
  expect(await status(first)).toBe(401);
  await writeFile(path, '{"keys":[]}');
  await until(async () => (await status(second)) === 200);
  expect(await status(third)).toBe(200);
});

test('keys of a mounted secret are renewed as Kubernetes does it: by a link that is swapped', async () => {
  await using folder = await temporaryFolder();
  const at = (...parts: string[]): string => join(folder.path, ...parts);
  const write = async (data: string, key: string): Promise<void> => {
    await mkdir(at(data));
    await writeFile(at(data, 'keys.json'), JSON.stringify({ keys: [key] }));
    await symlink(data, at('..data_tmp'));
    await rename(at('..data_tmp'), at('..data'));
  };
  await write('..1', first);
  await symlink(join('..data', 'keys.json'), at('keys.json'));
  await using rig = await startScoring({ environment: { MODELFERRY_KEYS_FILE: at('keys.json') } });
  const status = async (key: string): Promise<number> => (await rig.fetch('/swagger.json', bearer(key))).status;
  expect(await status(first)).toBe(200);
  await write('..2', second);
  await until(async () => (await status(second)) === 200);
  expect(await status(first)).toBe(401);
});

test('a key is wanted for what a raw script answers, whatever the method', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'keys.json');
  await writeFile(path, JSON.stringify({ keys: [first] }));
  const environment = { MODELFERRY_KEYS_FILE: path, WORKER_COUNT: '1' };
  const script = `export const raw = true; export const run = ({ method }) => ({ body: 'secret of ' + method });`;
  await using rig = await startScoring({ environment, script });
  for (const method of ['GET', 'OPTIONS', 'PUT']) {
    expect((await rig.fetch('/score', { method })).status).toBe(401);
    const answer = await rig.fetch('/score', { method, ...bearer(first) });
    expect([answer.status, await answer.text()]).toEqual([200, `secret of ${method}`]);
  }
});

test('tokens pass while they are signed, for this service, and not expired', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'keys.json');
  await writeFile(path, JSON.stringify({ keys: [first], tokenSecret }));
  await using rig = await startScoring({ environment: { MODELFERRY_KEYS_FILE: path, SERVICE_NAME: 'svc' } });
  const told = async (credential: string): Promise<string> => {
    const answer = await rig.fetch('/swagger.json', bearer(credential));
    return answer.status === 200 ? 'passed' : ((await answer.json()) as { message: string }).message;
  };
  const now = Math.floor(Date.now() / 1000);
  expect(await told(token({ aud: 'svc', exp: now + 60 }))).toBe('passed');
  expect(await told(token({ aud: 'svc', exp: now - 1 }))).toContain('has expired');
  expect(await told(token({ aud: 'other', exp: now + 60 }))).toContain('is for "other", "svc" was wanted');
  expect(await told(token({ aud: 'svc', exp: now + 60 }, 'another secret that is long enough'))).toContain(
    'not signed',
  );
  expect(await told(token({ aud: 'svc' }))).toContain('no JSON Web Token with HS256, aud and exp');
  expect(await told(token({ aud: 'svc', exp: now + 60 }, tokenSecret, { alg: 'none' }))).toContain('no JSON Web Token');
});

test('a health port answers health and metrics to everybody, and nothing else', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'keys.json');
  await writeFile(path, JSON.stringify({ keys: [first] }));
  await using rig = await startScoring({ environment: { MODELFERRY_KEYS_FILE: path, MODELFERRY_HEALTH_PORT: '0' } });
  const status = async (url: string): Promise<number> =>
    (await fetch(`http://127.0.0.1:${rig.server.healthPort}${url}`)).status;
  expect([
    await status('/'),
    await status('/v2/health/ready'),
    await status('/metrics'),
    await status('/swagger.json'),
  ]).toEqual([200, 200, 200, 404]);
});

test('a file of keys that cannot be used ends the start, and its content stays out of the message', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'keys.json');
  await writeFile(path, JSON.stringify({ keys: ['short'] }));
  const failure = await startScoring({ environment: { MODELFERRY_KEYS_FILE: path } }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'FILE_UNREADABLE' });
  expect(String(failure)).not.toContain('short');
});
