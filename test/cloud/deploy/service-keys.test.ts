import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  callersFile,
  keyProblem,
  newSecrets,
  readSecrets,
  removeSecrets,
  signToken,
  writeSecrets,
} from '../../../cloud/deploy/service-keys.ts';
import { completeSettings } from '../../../cloud/deploy/settings/service-settings.ts';
import { workspaceRig } from '../workspace-rig.ts';

test('writeSecrets() keeps what only the owner can read, and removeSecrets() leaves nothing', async () => {
  await using rig = await workspaceRig();
  const secrets = newSecrets();
  await writeSecrets(rig.workspace, 'digits', secrets);
  expect(await readSecrets(rig.workspace, 'digits')).toEqual(secrets);
  const path = join(rig.workspace.folder, 'services', 'digits.json');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  await writeFile(path, `{"primary": "${secrets.primary}"`);
  const failure: unknown = await readSecrets(rig.workspace, 'digits').catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'WORKSPACE_CORRUPT' });
  expect(String(failure)).not.toContain(secrets.primary);
  await removeSecrets(rig.workspace, 'digits');
  expect(await readSecrets(rig.workspace, 'digits')).toBeUndefined();
});

test('callersFile() lets nobody in by a key where tokens alone are good', () => {
  const secrets = newSecrets();
  const file = (given: Parameters<typeof completeSettings>[1]): string | undefined =>
    callersFile(completeSettings('local', given), secrets);
  expect(file({})).toBeUndefined();
  expect(JSON.parse(file({ authEnabled: true }) ?? '')).toEqual({
    keys: [secrets.primary, secrets.secondary],
    tokenSecret: secrets.tokenSecret,
  });
  const tokens = file({ tokenAuthEnabled: true });
  expect(tokens).not.toContain(secrets.primary);
  expect(file({ tokenAuthEnabled: true })).toBe(tokens);
});

test('signToken() gives a token that lasts twelve hours and is for its service', () => {
  const token = signToken('digits', newSecrets(), 1_000_000_000);
  const claims: unknown = JSON.parse(Buffer.from(token.accessToken.split('.')[1] ?? '', 'base64url').toString());
  expect(claims).toEqual({ aud: 'digits', iat: 1_000_000, exp: 1_043_200 });
  expect(token).toMatchObject({ tokenType: 'Bearer', refreshAfter: 1_021_600, expiryOn: 1_043_200 });
});

test('keyProblem() says what is wrong, and never the key', () => {
  expect(keyProblem('a-key-of-my-own-1')).toBeUndefined();
  expect(keyProblem('secret')).toMatch(/^the key has 6 characters, 16 at least/);
  expect(keyProblem('with a space in it')).not.toContain('space');
});
