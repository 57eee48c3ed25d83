import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WorkloadIdentityCredential } from '@azure/identity';
import { expect, test } from 'vitest';
import { signToken } from '../../simulators/arm/json-web-token.ts';
import { credentialOf, openArmRig } from './arm-rig.ts';

const scope = 'https://management.azure.com/.default';

test('ClientSecretCredential signs in, and not with a wrong secret or for a resource that is none', async () => {
  await using rig = await openArmRig();
  const { token, expiresOnTimestamp } = await rig.credential.getToken(scope);
  expect(token.split('.')).toHaveLength(3);
  expect(expiresOnTimestamp).toBeGreaterThan(Date.now() + 3_000_000);
  const wrong = credentialOf(rig.arm, { clientSecret: 'wrong' });
  await expect(wrong.getToken(scope)).rejects.toThrow('AADSTS7000215');
  await expect(rig.credential.getToken('https://nowhere.example/.default')).rejects.toThrow('AADSTS500011');
});

test('WorkloadIdentityCredential signs in with the token of another issuer, read from a file', async () => {
  await using rig = await openArmRig();
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const federated = {
    issuer: 'https://token.actions.githubusercontent.com',
    subject: 'repo:me/digits:ref:refs/heads/main',
    audience: 'api://AzureADTokenExchange',
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }),
  };
  await rig.rest('PUT', '/_sim/federated-credentials', { body: [federated] });
  const signIn = async (claims: { sub: string; exp: number }): Promise<string> => {
    const tokenFilePath = join(rig.folder, 'token');
    const { issuer: iss, audience: aud } = federated;
    await writeFile(tokenFilePath, signToken({ iss, aud, ...claims }, privateKey, 'key'));
    const { tenantId, clientId, endpoint } = rig.arm;
    const options = { tenantId, clientId, tokenFilePath, authorityHost: endpoint, disableInstanceDiscovery: true };
    return (await new WorkloadIdentityCredential(options).getToken(scope)).token;
  };
  const soon = Math.floor(Date.now() / 1000) + 600;
  const token = await signIn({ sub: federated.subject, exp: soon });
  const answer = await rig.rest('GET', '/subscriptions?api-version=2022-12-01', {
    headers: { authorization: `Bearer ${token}` },
  });
  expect(answer.status).toBe(200);
  await expect(signIn({ sub: 'repo:me/other:ref:refs/heads/main', exp: soon })).rejects.toThrow('AADSTS700213');
  await expect(signIn({ sub: federated.subject, exp: soon - 3600 })).rejects.toThrow('AADSTS700024');
});

test('Resource Manager takes only a token of its own audience, that has not expired', async () => {
  await using rig = await openArmRig();
  const codeFor = async (authorization?: string): Promise<string> => {
    const answer = await fetch(`${rig.arm.endpoint}/subscriptions?api-version=2022-12-01`, {
      headers: authorization === undefined ? {} : { authorization },
    });
    expect(answer.status).toBe(401);
    expect(answer.headers.get('www-authenticate')).toContain('Bearer authorization_uri=');
    return ((await answer.json()) as { error: { code: string } }).error.code;
  };
  expect(await codeFor()).toBe('AuthenticationFailed');
  expect(await codeFor('Bearer a.b.c')).toBe('InvalidAuthenticationToken');
  const storage = await rig.credential.getToken('https://storage.azure.com/.default');
  expect(await codeFor(`Bearer ${storage.token}`)).toBe('InvalidAuthenticationTokenAudience');
  rig.arm.faults.change({ tokenSeconds: 0 });
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: rig.arm.clientId,
    client_secret: rig.arm.clientSecret,
    scope,
  });
  const given = await fetch(`${rig.arm.endpoint}/${rig.arm.tenantId}/oauth2/v2.0/token`, {
    method: 'POST',
    body: form,
  });
  const { access_token: expired } = (await given.json()) as { access_token: string };
  expect(await codeFor(`Bearer ${expired}`)).toBe('ExpiredAuthenticationToken');
});
