import { readdir, readFile, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { HubClient } from '../../cloud/azure/hub-client.ts';
import { trustAlso } from '../../shared/tls-trust.ts';
import { runFerry } from '../ferry.ts';
import { startLocalWorld, type UpDocument } from '../local-world.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';

test('ferry up makes a workspace, says where everything is, and keeps secrets to its owner', async () => {
  await using folder = await temporaryFolder();
  await using world = await startLocalWorld(folder.path);
  const { registry, hub, storage, arm, caFile } = world.document;
  expect(await readFile(caFile, 'utf8')).toContain('BEGIN CERTIFICATE');
  expect(hub.connectionString).toContain(`HostName=${hub.hostName};`);
  const response = await fetch(`http://${registry}/v2/`);
  expect(response.status).toBe(200);
  const { stdout } = await runFerry(['workspace', 'show', '--json'], { cwd: folder.path });
  expect(JSON.parse(stdout)).toMatchObject({
    endpoints: {
      registry,
      hub: hub.hostName,
      storage: { blobEndpoint: storage.blobEndpoint },
      azure: { endpoint: arm.endpoint },
      caFile,
    },
  });
  const files = await readdir(join(folder.path, '.ferry'), { recursive: true });
  const holding = [];
  for (const name of files) {
    const path = join(folder.path, '.ferry', name);
    const { mode } = await stat(path);
    if (/secrets\.json|world\.json|state\.json|-key\.pem|key\.pem$/.test(name)) holding.push(mode & 0o077);
  }
  expect(holding.length).toBeGreaterThanOrEqual(4);
  expect(new Set(holding)).toEqual(new Set([0]));
});

test.each(['SIGINT', 'SIGTERM'] as const)('%s ends ferry up and everything that it started', async (signal) => {
  await using folder = await temporaryFolder();
  await using world = await startLocalWorld(folder.path);
  expect(await world.end(signal)).toBe(0);
  expect(await anyAnswers(world.document)).toBe(false);
});

test('everything ends with a ferry up that is killed', async () => {
  await using folder = await temporaryFolder();
  await using world = await startLocalWorld(folder.path);
  await world.end('SIGKILL');
  const ended = await until(async () => !(await anyAnswers(world.document)), { what: 'the end of the local world' });
  expect(ended).toBe(true);
});

test('ferry up answers at the same addresses with the same keys when it is started again', async () => {
  await using folder = await temporaryFolder();
  const first = await startLocalWorld(folder.path);
  await runFerry(['edge', 'device', 'add', 'gateway-1'], { cwd: folder.path });
  await first.end('SIGTERM');
  await using second = await startLocalWorld(folder.path);
  expect(second.document).toEqual(first.document);
  const { stdout } = await runFerry(['edge', 'device', 'list', '--json'], { cwd: folder.path });
  expect(JSON.parse(stdout)).toMatchObject([{ deviceId: 'gateway-1' }]);
});

test('ferry up --only hub starts the hub alone, and leaves the rest of the workspace as it was', async () => {
  await using folder = await temporaryFolder();
  const whole = await startLocalWorld(folder.path);
  await whole.end('SIGTERM');
  await using world = await startLocalWorld(folder.path, ['--only', 'hub', '--evaluate-every', '300']);
  const { hub, caFile } = whole.document;
  expect(world.document).toEqual({ workspace: whole.document.workspace, hub, caFile });
  expect(await anyAnswers({ ...whole.document, hub: { ...hub, hostName: 'localhost:1' } })).toBe(false);
  const { stdout } = await runFerry(['workspace', 'show', '--json'], { cwd: folder.path });
  expect(JSON.parse(stdout)).toMatchObject({
    endpoints: { registry: whole.document.registry, hub: hub.hostName },
  });
  trustAlso(caFile);
  // At once is what it would be without the flag.
  using client = new HubClient(hub.connectionString, AbortSignal.timeout(30_000));
  await client.addEdgeDevice('gateway-1', {});
  const content = { modulesContent: { $edgeAgent: { 'properties.desired': { schemaVersion: '1.1' } } } };
  await client.addDeployment({ id: 'all', content, targetCondition: '*', priority: 1, labels: {} });
  expect((await client.getDeployment('all')).systemMetrics?.results).toEqual({});
});

test('ferry up refuses a part that it does not have, and an evaluation of no time', async () => {
  await using folder = await temporaryFolder();
  const parts = await runFerry(['up', '--only', 'hub,cloud'], { cwd: folder.path });
  expect(parts).toMatchObject({ code: 2, stderr: expect.stringContaining('"cloud"') });
  const seconds = await runFerry(['up', '--evaluate-every', '0'], { cwd: folder.path });
  expect(seconds).toMatchObject({ code: 2, stderr: expect.stringContaining('--evaluate-every') });
});

test('a second ferry up in the same workspace says what is in its way', async () => {
  await using folder = await temporaryFolder();
  await using _world = await startLocalWorld(folder.path);
  const { code, stderr } = await runFerry(['up'], { cwd: folder.path });
  expect(code).toBe(1);
  expect(stderr).toMatch(/error (PORT_IN_USE|IN_USE): Cannot /);
});

async function anyAnswers({ registry, hub, storage, arm }: UpDocument): Promise<boolean> {
  const addresses = [registry, hub.hostName, new URL(storage.blobEndpoint).host, new URL(arm.endpoint).host];
  const answers = await Promise.all(addresses.map((address) => answersAt(Number(address.split(':')[1]))));
  return answers.includes(true);
}

async function answersAt(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
