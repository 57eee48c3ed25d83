import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { digestOf } from '../../../shared/digest.ts';
import { parseChallenge } from '../../../shared/oci/registry-challenge.ts';
import { registryUrl } from '../../../shared/oci/registry-address.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import type { RegistryCredential } from '../../../shared/oci/registry-credentials.ts';
import { impatientClock } from './impatient-clock.ts';
import { bodyOf, type MisbehavingRegistry, startMisbehaving } from './misbehaving-registry.ts';

const digest = digestOf('layer');
const password = { kind: 'password', username: 'ferry', password: 'secret' } as const;
const basic = `Basic ${Buffer.from('ferry:secret').toString('base64')}`;

test('RegistryClient signs in with a password where the registry asks for it, once', async () => {
  await using registry = await startMisbehaving((request, response) => {
    const isIn = request.headers.authorization === basic;
    response.writeHead(isIn ? 200 : 401, { 'www-authenticate': 'Basic realm="registry"' }).end();
  });
  const client = clientOf(registry, password);
  await client.headBlob('digits', digest);
  await client.headBlob('models', digest);
  expect(registry.asked).toHaveLength(3);
});

test('RegistryClient gets a token for each scope, with a password or without, and keeps it', async () => {
  for (const credential of [password, undefined]) {
    const tokens: string[] = [];
    await using registry = await startTokenRegistry((request, url) => {
      tokens.push(url.searchParams.getAll('scope').join(' '));
      expect(url.searchParams.get('service')).toBe('registry.test');
      expect(request.headers.authorization).toBe(credential === undefined ? undefined : basic);
      return { token: `token for ${tokens.at(-1)}`, expires_in: 300 };
    });
    const client = clientOf(registry, credential);
    await client.headBlob('digits', digest);
    await client.headBlob('digits', digest);
    await client.headBlob('models/digits', digest);
    expect(tokens).toEqual(['repository:digits:pull', 'repository:models/digits:pull']);
  }
});

test('RegistryClient asks for both repositories when it mounts', async () => {
  const scopes: string[][] = [];
  await using registry = await startTokenRegistry((_request, url) => {
    scopes.push(url.searchParams.getAll('scope'));
    return { access_token: 'token' };
  });
  await clientOf(registry, password)
    .mountBlob('digits', { digest, from: 'models/digits' })
    .catch(() => undefined);
  expect(scopes).toEqual([['repository:digits:pull,push', 'repository:models/digits:pull']]);
});

test('RegistryClient gets a new token when the old one ends', async () => {
  let tokens = 0;
  let nowMs = 0;
  await using registry = await startTokenRegistry(() => ({ token: `token ${(tokens += 1)}`, expires_in: 60 }));
  const clock = { ...impatientClock(), monotonicMs: () => nowMs };
  const client = new RegistryClient(registry.host, { clock, credentials: async () => password });
  await client.headBlob('digits', digest);
  nowMs = 40_000;
  await client.headBlob('digits', digest);
  expect(tokens).toBe(1);
  nowMs = 59_000;
  await client.headBlob('digits', digest);
  expect(tokens).toBe(2);
});

test('RegistryClient uses a refresh token', async () => {
  await using registry = await startTokenRegistry((_request, _url, body) => {
    expect(Object.fromEntries(new URLSearchParams(body))).toMatchObject({
      grant_type: 'refresh_token',
      service: 'registry.test',
      scope: 'repository:digits:pull',
      refresh_token: 'refresh',
    });
    return { access_token: 'token' };
  });
  await clientOf(registry, { kind: 'refresh-token', token: 'refresh' }).headBlob('digits', digest);
  expect(registry.asked.filter((request) => request.startsWith('POST'))).toHaveLength(1);
});

test("RegistryClient exchanges a token of Entra ID for the registry's own, once", async () => {
  const exchanged: object[] = [];
  await using registry = await startTokenRegistry((_request, url, body) => {
    const form = Object.fromEntries(new URLSearchParams(body));
    if (url.pathname === '/oauth2/exchange') {
      exchanged.push(form);
      return { refresh_token: 'refresh' };
    }
    return form['refresh_token'] === 'refresh' ? { access_token: 'token' } : undefined;
  });
  const client = clientOf(registry, { kind: 'entra-token', token: 'entra', tenant: 'contoso' });
  await client.headBlob('digits', digest);
  await client.headBlob('models/digits', digest);
  const form = { grant_type: 'access_token', service: 'registry.test', tenant: 'contoso', access_token: 'entra' };
  expect(exchanged).toEqual([form]);
});

test('RegistryClient passes on why it is not let in, without the password', async () => {
  const challenges = ['Basic realm="registry"', 'Negotiate'];
  for (const challenge of challenges) {
    await using registry = await startMisbehaving((_request, response) => {
      response.writeHead(401, { 'www-authenticate': challenge });
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}');
    });
    const asked = clientOf(registry, password).getManifest('digits', '1');
    await expect(asked).rejects.toMatchObject({
      code: 'REGISTRY_REFUSED',
      message: expect.stringContaining('401 UNAUTHORIZED "no"'),
    });
    await expect(asked).rejects.not.toMatchObject({ message: expect.stringContaining('secret') });
  }
});

test('RegistryClient passes on why it is given no token', async () => {
  await using refusing = await startTokenRegistry(() => undefined);
  await expect(clientOf(refusing, password).headBlob('digits', digest)).rejects.toMatchObject({
    code: 'REGISTRY_REFUSED',
    message: expect.stringContaining('401'),
  });
  await using empty = await startTokenRegistry(() => ({}));
  await expect(clientOf(empty, password).headBlob('digits', digest)).rejects.toMatchObject({
    code: 'REGISTRY_REFUSED',
    message: expect.stringContaining('holds no token'),
  });
});

test('RegistryClient sends no secret to a sign-in address without TLS, nor to another host', async () => {
  await using unsafe = await startMisbehaving((_request, response) => {
    response.writeHead(401, { 'www-authenticate': 'Bearer realm="http://example.test/token"' }).end();
  });
  await expect(clientOf(unsafe, password).headBlob('digits', digest)).rejects.toMatchObject({
    code: 'REGISTRY_REFUSED',
    message: expect.stringContaining('http://example.test'),
  });

  const seen: (string | undefined)[] = [];
  await using storage = await startMisbehaving((request, response) => {
    seen.push(request.headers.authorization);
    response.end('layer');
  });
  await using registry = await startMisbehaving((request, response) => {
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="registry"' }).end();
    } else response.writeHead(307, { location: `http://${storage.host}/blob` }).end();
  });
  const pieces: Uint8Array[] = [];
  const blob = { digest, size: 5 };
  for await (const piece of clientOf(registry, password).readBlob('digits', blob)) pieces.push(piece);
  expect(Buffer.concat(pieces).toString()).toBe('layer');
  expect(seen).toEqual([undefined]);
});

test.each([
  ['Basic realm="x"', { scheme: 'basic' }],
  [
    'Bearer realm="https://x.azurecr.io/oauth2/token",service="x.azurecr.io",scope="repository:a:pull,push"',
    {
      scheme: 'bearer',
      realm: 'https://x.azurecr.io/oauth2/token',
      service: 'x.azurecr.io',
      scope: 'repository:a:pull,push',
    },
  ],
  ['bearer Realm="https://x/t" , service=plain', { scheme: 'bearer', realm: 'https://x/t', service: 'plain' }],
  ['Bearer realm="https://x/\\"t"', { scheme: 'bearer', realm: 'https://x/"t' }],
  ['Bearer service="x"', undefined],
  ['Bearer realm="nowhere"', undefined],
  ['Negotiate', undefined],
  ['', undefined],
])('parseChallenge() reads %s', (header, wanted) => {
  expect(parseChallenge(header)).toEqual(wanted);
});

test.each([
  ['localhost:5000', 'http://localhost:5000/'],
  ['127.0.0.1:5000', 'http://127.0.0.1:5000/'],
  ['[::1]:5000', 'http://[::1]:5000/'],
  ['docker.io', 'https://registry-1.docker.io/'],
  ['x.azurecr.io', 'https://x.azurecr.io/'],
  ['localhost.example:80', 'https://localhost.example:80/'],
])('registryUrl() talks to %s at %s', (host, url) => {
  expect(registryUrl(host).href).toBe(url);
});

function clientOf(registry: MisbehavingRegistry, credential: RegistryCredential | undefined): RegistryClient {
  return new RegistryClient(registry.host, { clock: impatientClock(), credentials: async () => credential });
}

/** A registry that takes every token and gives those that the function says; 401 where it says none. */
function startTokenRegistry(
  give: (request: IncomingMessage, url: URL, body: string) => object | undefined,
): Promise<MisbehavingRegistry> {
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '', `http://${request.headers.host}`);
    if (url.pathname.startsWith('/oauth2/')) {
      const token = give(request, url, await bodyOf(request));
      response.writeHead(token === undefined ? 401 : 200).end(JSON.stringify(token ?? {}));
    } else if (request.headers.authorization?.startsWith('Bearer token') === true) response.writeHead(200).end();
    else {
      const challenge = `Bearer realm="${url.origin}/oauth2/token",service="registry.test"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
  };
  return startMisbehaving((request, response) => {
    answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
}
