import { once } from 'node:events';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { expect, test } from 'vitest';
import { readLedger } from '../../agent/collect/ledger.ts';
import { isProxied } from '../../shared/proxy.ts';
import { makeAuthority, makeServerCertificate } from '../../simulators/certificate-maker.ts';
import type { Certificates } from '../../simulators/certificates.ts';
import type { StorageAccount } from '../../simulators/hub/uploads.ts';
import { trustAlso } from '../../shared/tls-trust.ts';
import { openAzurite } from '../conformance/azurite-rig.ts';
import { ConnectProxy } from '../connect-proxy.ts';
import { runFerry } from '../ferry.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';
import { AgentProcess } from './agent-process.ts';
import { fillBuffer } from './filled-buffer.ts';
import { Rig } from './rig.ts';

// Names of nothing: only who goes through the proxy gets there.
const [hubName, registryName] = ['hub.invalid', 'registry.invalid'];
const password = 'p@ss:w/rd';
const login = `device:${encodeURIComponent(password)}`;

test('pain 17, a proxy in four places: one setting takes the agent to hub and registry through it', async () => {
  await using site = await openSite();
  const { rig, proxy } = site;
  await using agent = new AgentProcess([...siteFlags(site, login), '--engine', 'process', '--log-format', 'text']);
  const image = await rig.putImage();
  await rig.reported(await rig.deploy({ digits: { image: image.replace(/^[^/]+/, registryName) } }), 200, 30_000);
  expect(new Set(proxy.asked)).toEqual(new Set([`${hubName}:443`, `${registryName}:443`]));
  expect(await rig.callMethod('ping', null)).toMatchObject({ status: 200 });
  agent.signal('SIGTERM');
  expect(await agent.exitCode()).toBe(0);
  expect(agent.output).not.toContain('p%40ss');
  expect(agent.output).not.toContain(password);
}, 60_000);

test('pain 17, a proxy in four places: collected rows go to the storage account through the same one', async () => {
  await using azurite = await openAzurite();
  trustAlso(azurite.caFile);
  const { blobHost } = azurite.account;
  const storageAddress = blobHost.slice(0, blobHost.indexOf('/'));
  const places = { [storageAddress]: Number(storageAddress.split(':')[1]) };
  await using site = await openSite({ storage: azurite.account, places });
  const { rig, proxy } = site;
  const databasePath = await fillBuffer(rig, { rows: 5 });
  // One file of both authorities, as the agent is told of one.
  await appendFile(rig.caFile, await readFile(azurite.caFile));
  await using _agent = new AgentProcess([...siteFlags(site, login), '--engine', 'process', '--upload-every', '1']);
  await until(() => readLedger(databasePath).streams[0]?.uploaded === 5, { timeoutMs: 20_000 });
  expect(new Set(proxy.asked)).toEqual(new Set([`${hubName}:443`, storageAddress]));
}, 60_000);

test('a proxy that wants another password: the agent says so without the password, and goes on trying', async () => {
  await using site = await openSite();
  await using agent = new AgentProcess([
    ...siteFlags(site, 'device:xyzzy'),
    '--engine',
    'process',
    '--log-format',
    'text',
  ]);
  await until(() => agent.output.includes('Cannot reach the hub at hub.invalid:443'), { timeoutMs: 20_000 });
  expect(agent.output).toContain('407');
  expect(agent.output).not.toContain('xyzzy');
}, 60_000);

test('agent check looks through the proxy', async () => {
  await using site = await openSite();
  const check = async (
    proxyLogin: string,
  ): Promise<Record<string, { outcome: string; found: string; next?: string }>> => {
    const { stdout } = await runFerry(['agent', 'check', '--json', ...siteFlags(site, proxyLogin)], {
      cwd: site.rig.folder,
    });
    const { checks } = JSON.parse(stdout) as { checks: { name: string; outcome: string; found: string }[] };
    return Object.fromEntries(checks.map((found) => [found.name, found]));
  };
  expect(await check(login)).toMatchObject({
    hub: { outcome: 'ok', found: expect.stringContaining('through the proxy') },
  });
  expect(await check('device:xyzzy')).toMatchObject({
    hub: { outcome: 'error', next: expect.stringContaining('name and password') },
  });
}, 60_000);

test.each([
  ['hub.example', '', true],
  ['hub.example', 'other.example,hub.example', false],
  ['hub.example', '.example', false],
  ['hub.example', '*.example:443', false],
  ['hub.example', '*', false],
  ['myhub.example', 'hub.example', true],
])('isProxied(%s) with the exceptions "%s" is %s', (host, exceptions, answer) => {
  const { HTTPS_PROXY, NO_PROXY } = process.env;
  Object.assign(process.env, { HTTPS_PROXY: 'http://127.0.0.1:1', NO_PROXY: exceptions });
  try {
    expect(isProxied(host)).toBe(answer);
  } finally {
    for (const [name, value] of Object.entries({ HTTPS_PROXY, NO_PROXY })) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
});

interface Site extends AsyncDisposable {
  readonly rig: Rig;
  readonly proxy: ConnectProxy;
}

/** The flags of an agent behind the proxy. */
function siteFlags({ rig, proxy }: Site, proxyLogin: string): string[] {
  const identity = `${rig.connectionString};GatewayHostName=${hubName}`;
  const own = ['--connection-string', identity, '--state', rig.stateFolder, '--ca', rig.caFile];
  return [...own, '--proxy', proxy.address(proxyLogin)];
}

/** A hub and a registry with TLS that only a proxy knows the way to. @param places ports of more, by `host:port` */
async function openSite({
  places = {},
  storage,
}: { readonly places?: Readonly<Record<string, number>>; readonly storage?: StorageAccount } = {}): Promise<Site> {
  await using stack = new AsyncDisposableStack();
  const certificates = await certificatesFor(stack.use(await temporaryFolder()).path);
  const rig = stack.use(await Rig.open({ certificates, ...(storage === undefined ? {} : { storage }) }));
  const secured = tls.createServer({ cert: certificates.certPem, key: certificates.keyPem }, (near) => {
    const far = connect(rig.registry.port, '127.0.0.1');
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
  });
  stack.defer(() => void secured.close());
  secured.listen(0, '127.0.0.1');
  await once(secured, 'listening');
  const registryPort = (secured.address() as AddressInfo).port;
  const known = { ...places, [`${hubName}:443`]: rig.hub.port, [`${registryName}:443`]: registryPort };
  const proxy = stack.use(await ConnectProxy.open(known, password));
  const disposal = stack.move();
  return { rig, proxy, [Symbol.asyncDispose]: () => disposal.disposeAsync() };
}

async function certificatesFor(folder: string): Promise<Certificates> {
  const validity = { nowMs: Date.now(), days: 2 };
  const authority = await makeAuthority(validity);
  const names = { dns: ['localhost', hubName, registryName], ip: ['127.0.0.1'] };
  const server = await makeServerCertificate({ authority, names, ...validity });
  const files = {
    caFile: join(folder, 'ca.pem'),
    certFile: join(folder, 'cert.pem'),
    keyFile: join(folder, 'key.pem'),
  };
  await writeFile(files.caFile, authority.certPem);
  return { ...files, caPem: authority.certPem, certPem: server.certPem, keyPem: server.keyPem };
}
