import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { dockerCredentials } from '../../../shared/oci/docker-credentials.ts';
import type { RegistryCredential } from '../../../shared/oci/registry-credentials.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const password = { kind: 'password', username: 'ferry', password: 'se:cret' };

test.each<[string, string, object]>([
  ['x.azurecr.io', 'x.azurecr.io', { auth: base64('ferry:se:cret') }],
  ['x.azurecr.io', 'https://x.azurecr.io/v1/', { auth: base64('ferry:se:cret') }],
  ['localhost:5000', 'localhost:5000', { auth: base64('ferry:se:cret\0\0') }],
  ['docker.io', 'https://index.docker.io/v1/', { auth: base64('ferry:se:cret') }],
  ['x.azurecr.io', 'x.azurecr.io', { username: 'ferry', password: 'se:cret' }],
])('dockerCredentials() finds the password of %s under %s', async (host, key, entry) => {
  await using config = await configFolder({ auths: { 'other.test': { auth: base64('a:b') }, [key]: entry } });
  expect(await ask(config.path, host)).toEqual(password);
});

test('dockerCredentials() finds an identity token', async () => {
  await using config = await configFolder({
    auths: { 'x.azurecr.io': { auth: base64('0:'), identitytoken: 'refresh' } },
  });
  expect(await ask(config.path, 'x.azurecr.io')).toEqual({ kind: 'refresh-token', token: 'refresh' });
});

test('dockerCredentials() finds nothing where there is nothing', async () => {
  await using none = await temporaryFolder();
  expect(await ask(none.path, 'x.azurecr.io')).toBeUndefined();
  await using config = await configFolder({ auths: { 'x.azurecr.io': {}, 'y.test': { auth: 'no pair' } } });
  for (const host of ['x.azurecr.io', 'y.test', 'z.test']) expect(await ask(config.path, host)).toBeUndefined();
});

test('dockerCredentials() refuses a file that is none of Docker', async () => {
  for (const content of ['{', '{"auths":[]}']) {
    await using config = await configFolder(content);
    await expect(ask(config.path, 'x.azurecr.io')).rejects.toMatchObject({
      code: 'FILE_UNREADABLE',
      message: expect.stringContaining('config.json'),
    });
  }
});

test("dockerCredentials() asks the registry's helper before the store, and the store before the file", async () => {
  await using config = await configFolder({
    auths: { 'x.azurecr.io': { auth: base64('file:f') }, 'z.test': { auth: base64('ferry:se:cret') } },
    credHelpers: { 'x.azurecr.io': 'mf-acr' },
    credsStore: 'mf-store',
  });
  using _path = await helpers(config.path, {
    'mf-acr': 'cat > "$0.asked"; echo \'{"Username":"<token>","Secret":"refresh"}\'',
    'mf-store':
      'read host; [ "$host" = y.test ] || { echo credentials not found in native keychain; exit 1; }; echo \'{"Username":"ferry","Secret":"se:cret"}\'',
  });
  expect(await ask(config.path, 'x.azurecr.io')).toEqual({ kind: 'refresh-token', token: 'refresh' });
  expect(await readFile(join(config.path, 'docker-credential-mf-acr.asked'), 'utf8')).toBe('x.azurecr.io');
  expect(await ask(config.path, 'y.test')).toEqual(password);
  expect(await ask(config.path, 'z.test')).toEqual(password);
});

test.each([
  ['fails', 'echo broken; exit 3', 'status 3'],
  ['answers with something else', 'echo hello', 'no user name'],
  ['never ends', 'exec sleep 60', 'not done after 300 ms'],
])('dockerCredentials() says which helper %s', async (_what, script, why) => {
  await using config = await configFolder({ credsStore: 'mf-bad' });
  using _path = await helpers(config.path, { 'mf-bad': script });
  await expect(ask(config.path, 'x.azurecr.io', 300)).rejects.toThrow(why);
});

test('dockerCredentials() says which helper is not there, and runs none outside of the path', async () => {
  await using missing = await configFolder({ credsStore: 'mf-never-was' });
  await expect(ask(missing.path, 'x.azurecr.io')).rejects.toMatchObject({
    code: 'FILE_UNREADABLE',
    message: expect.stringContaining('docker-credential-mf-never-was'),
  });
  await using outside = await configFolder({ credsStore: '/../../evil' });
  await expect(ask(outside.path, 'x.azurecr.io')).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
});

function ask(folder: string, host: string, helperTimeoutMs = 10_000): Promise<RegistryCredential | undefined> {
  return dockerCredentials({ folder, helperTimeoutMs })(host, new AbortController().signal);
}

async function configFolder(content: object | string): Promise<{ readonly path: string } & AsyncDisposable> {
  const folder = await temporaryFolder();
  const text = typeof content === 'string' ? content : JSON.stringify(content);
  await writeFile(join(folder.path, 'config.json'), text);
  return folder;
}

/** Puts shell scripts as credential helpers into a folder, and that first into PATH until disposed of. */
async function helpers(folder: string, scripts: Readonly<Record<string, string>>): Promise<Disposable> {
  for (const [name, script] of Object.entries(scripts)) {
    const path = join(folder, `docker-credential-${name}`);
    await writeFile(path, `#!/bin/sh\n${script}\n`);
    await chmod(path, 0o755);
  }
  vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`);
  return { [Symbol.dispose]: () => void vi.unstubAllEnvs() };
}
