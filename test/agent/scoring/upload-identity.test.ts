import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { trustAlso } from '../../../shared/tls-trust.ts';
import { type Certificates, openCertificates } from '../../../simulators/certificates.ts';
import { type Azurite, startAzurite } from '../../cloud/data/azurite.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { startProgram, writeServerModules } from './scoring-program.ts';
import { makeRoot, readDigits } from './scoring-rig.ts';

let stack: AsyncDisposableStack;
let certificates: Certificates;
let azurite: Azurite;
beforeAll(async () => {
  stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  certificates = await openCertificates(folder.path);
  trustAlso(certificates.caFile);
  azurite = stack.use(await startAzurite(certificates));
});
afterAll(() => stack.disposeAsync());

/** A token as Microsoft Entra issues it, but for its signature, which the local storage does not look at. */
function token(lifetimeSeconds: number): string {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    aud: 'https://storage.azure.com',
    iss: 'https://sts.windows.net/00000000-0000-0000-0000-000000000001/',
    iat: now - 600,
    nbf: now - 600,
    exp: now + lifetimeSeconds,
  };
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}.c2lnbmF0dXJl`;
}

/** What a managed identity is asked by: App Service's and ACI's protocol, and that of virtual machines. */
async function startIdentity() {
  const requests: IncomingMessage[] = [];
  let status = 200;
  const server = createServer((request, response) => {
    requests.push(request);
    response.writeHead(status, { 'content-type': 'application/json' });
    const expiresOn = String(Math.floor(Date.now() / 1000) + 3600);
    const answer = {
      access_token: token(3600),
      expires_on: expiresOn,
      expires_in: '3600',
      resource: 'https://storage.azure.com',
      token_type: 'Bearer',
    };
    response.end(
      JSON.stringify(status === 200 ? answer : { error: 'invalid_request', error_description: 'no identity' }),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    answer: (code: number) => {
      status = code;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

test.each(['app-service', 'virtual-machine'] as const)(
  'rows get to storage under the managed identity of a %s, and stay in the buffer while there is none',
  async (host) => {
    await using identity = await startIdentity();
    await using folder = await temporaryFolder();
    await makeRoot(folder.path, { only: ['digits'] });
    const data = join(folder.path, 'data');
    await mkdir(data);
    const container = await azurite.newContainer();
    const endpoint =
      host === 'app-service'
        ? { IDENTITY_ENDPOINT: `${identity.url}/msi/token`, IDENTITY_HEADER: 'proof' }
        : { AZURE_POD_IDENTITY_AUTHORITY_HOST: identity.url };
    identity.answer(400);
    // Once from source, once as an image has it.
    const entry = host === 'app-service' ? undefined : await writeServerModules(folder.path);
    const environment = {
      ...endpoint,
      AZURE_CLIENT_ID: 'the-one',
      NODE_EXTRA_CA_CERTS: certificates.caFile,
      AML_MODEL_DC_STORAGE_ENABLED: 'true',
      MODELFERRY_DATA_DIR: data,
      MODELFERRY_UPLOAD_CONTAINER: container.url,
      MODELFERRY_UPLOAD_EVERY_MS: '50',
    };
    await using program = startProgram(folder.path, environment, entry === undefined ? {} : { entry });
    const { pixels } = await readDigits();
    const body = JSON.stringify({ pixels: pixels.slice(0, 7) });
    expect((await fetch(`${await program.url()}/score`, { method: 'POST', body })).status).toBe(200);
    await until(() => program.lines().some(({ code }) => code === 'STORAGE_DENIED'), {
      what: 'the refusal',
      timeoutMs: 20_000,
    });
    const ledger = () => readLedger(join(data, 'collect.db')).streams;
    expect(ledger()).toMatchObject([
      { buffered: 7, quarantined: 0 },
      { buffered: 7, quarantined: 0 },
    ]);
    identity.answer(200);
    await until(() => ledger().every(({ uploaded }) => uploaded === 7), { what: 'the upload', timeoutMs: 20_000 });
    const [asked] = identity.requests;
    expect(asked?.url).toMatch(/resource=https%3A%2F%2Fstorage\.azure\.com/);
    expect(asked?.url).toContain('client_id=the-one');
    const proof = host === 'app-service' ? asked?.headers['x-identity-header'] : asked?.headers['metadata'];
    expect(proof).toBe(host === 'app-service' ? 'proof' : 'true');
  },
  60_000,
);
