import { createServer } from 'node:net';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { HubClient } from '../../../cloud/azure/hub-client.ts';
import { hubFailure } from '../../../cloud/azure/hub-failure.ts';
import { until } from '../../until.ts';
import { openEdgeRig } from '../edge-rig.ts';

const wrongKey = Buffer.from('not the key of this hub').toString('base64');
const signal = (): AbortSignal => AbortSignal.timeout(20_000);
const deployment = { content: { modulesContent: {} }, targetCondition: '*', priority: 1, labels: {} };

test('HubClient adds edge devices with tags, finds, shows and removes them', async () => {
  await using rig = await openEdgeRig();
  const device = await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  expect(device).toMatchObject({ deviceId: 'gw-1', capabilities: { iotEdge: true } });
  expect(rig.client.connectionStringOf(device)).toMatchObject({ hostName: rig.hub.hostName, deviceId: 'gw-1' });
  expect((await rig.client.findEdgeDevices("tags.site='lab'")).map(({ deviceId }) => deviceId)).toEqual(['gw-1']);
  expect(await rig.client.getTwin('gw-1')).toMatchObject({ tags: { site: 'lab' } });
  await rig.client.removeDevice('gw-1');
  await expect(rig.client.getDevice('gw-1')).rejects.toMatchObject({
    code: 'DEVICE_NOT_FOUND',
    message: expect.stringContaining('"gw-1"'),
  });
});

test('HubClient reads all pages of a query', async () => {
  await using rig = await openEdgeRig();
  for (let index = 0; index < 1010; index += 10) {
    await Promise.all(Array.from({ length: 10 }, (_, at) => rig.client.addEdgeDevice(`d-${index + at}`, {})));
  }
  const ids = new Set((await rig.client.findEdgeDevices('*')).map(({ deviceId }) => deviceId));
  expect(ids.size).toBe(1011);
});

test('HubClient asks again where the hub is throttling, and sets nothing up twice by that', async () => {
  await using rig = await openEdgeRig();
  rig.hub.faults.change({ throttleRequests: 2 });
  await rig.client.addDeployment({ ...deployment, content: { modulesContent: { $edgeAgent: {} } }, id: 'one' });
  expect(rig.hub.faults.settings.throttleRequests).toBe(0);
  rig.hub.faults.change({ throttleRequests: 1 });
  expect(await rig.client.listDeployments()).toMatchObject([{ id: 'one' }]);
});

test('HubClient gives up waiting for a hub that is throttling when it is told to', async () => {
  await using rig = await openEdgeRig();
  const ending = new AbortController();
  using client = new HubClient(rig.hub.connectionStrings.iothubowner, ending.signal);
  rig.hub.faults.change({ throttleRequests: 100 });
  const asking = client.listDeployments();
  asking.catch(() => undefined);
  await until(() => rig.hub.faults.settings.throttleRequests < 100);
  ending.abort(new Error('enough'));
  await expect(asking).rejects.toThrow('enough');
});

test.each([
  [429, 'OVERLOADED'],
  [500, 'HUB_UNREACHABLE'],
  [503, 'HUB_UNREACHABLE'],
  [400, 'HUB_REFUSED'],
])('hubFailure() makes of a %i a %s', (statusCode, code) => {
  const attempt = { doing: 'list the deployments', hostName: 'hub.example' };
  expect(hubFailure({ response: { statusCode } }, attempt)).toMatchObject({
    code,
    message: `Cannot list the deployments: the hub hub.example answered ${statusCode}`,
  });
});

test('HubClient tells devices and deployments that are there, and that are not', async () => {
  await using rig = await openEdgeRig();
  await expect(rig.client.addEdgeDevice('elsewhere', {})).rejects.toMatchObject({ code: 'DEVICE_EXISTS' });
  await expect(rig.client.removeDevice('nobody')).rejects.toMatchObject({ code: 'DEVICE_NOT_FOUND' });
  await expect(rig.client.getTwin('nobody', '$edgeAgent')).rejects.toMatchObject({ code: 'DEVICE_NOT_FOUND' });
  await expect(rig.client.getDeployment('none')).rejects.toMatchObject({ code: 'DEPLOYMENT_NOT_FOUND' });
  await expect(rig.client.removeDeployment('none')).rejects.toMatchObject({ code: 'DEPLOYMENT_NOT_FOUND' });
});

test('HubClient repeats the status, code and words of a refusal', async () => {
  await using rig = await openEdgeRig();
  const refusal = await rig.client.addDeployment({ ...deployment, id: 'Not Legal' }).catch((error: unknown) => error);
  expect(refusal).toMatchObject({
    code: 'HUB_REFUSED',
    message: expect.stringMatching(/^Cannot add the deployment "Not Legal": the hub localhost:\d+ answered 400 \w+: ./),
  });
});

test('HubClient takes the device back when its tags are refused', async () => {
  await using rig = await openEdgeRig();
  await expect(rig.client.addEdgeDevice('gw-1', { 'a.b$': 'x' })).rejects.toMatchObject({ code: 'HUB_REFUSED' });
  await expect(rig.client.getDevice('gw-1')).rejects.toMatchObject({ code: 'DEVICE_NOT_FOUND' });
});

test('HubClient says that a key is wrong, without the key', async () => {
  await using rig = await openEdgeRig();
  using client = new HubClient(
    `HostName=${rig.hub.hostName};SharedAccessKeyName=iothubowner;SharedAccessKey=${wrongKey}`,
    signal(),
  );
  const refusal = await client.listDeployments().catch((error: unknown) => error);
  expect(refusal).toMatchObject({ code: 'HUB_UNAUTHORIZED', message: expect.stringContaining(rig.hub.hostName) });
  expect(refusal).not.toHaveProperty('cause');
  expect(String(refusal)).not.toContain(wrongKey);
});

test('HubClient says which hub cannot be reached', async () => {
  using client = new HubClient(
    `HostName=127.0.0.1:1;SharedAccessKeyName=iothubowner;SharedAccessKey=${wrongKey}`,
    signal(),
  );
  await expect(client.listDeployments()).rejects.toMatchObject({
    code: 'HUB_UNREACHABLE',
    message: 'Cannot list the deployments: nothing usable answers at 127.0.0.1:1 (ECONNREFUSED)',
  });
});

test('HubClient says that what answers is no hub', async () => {
  await using server = createServer((socket) => {
    // Only what the client has sent is read, so that closing is no reset.
    socket.once('data', () => socket.end('SSH-2.0-none\r\n'));
    socket.on('error', () => {});
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  using client = new HubClient(
    `HostName=127.0.0.1:${port};SharedAccessKeyName=service;SharedAccessKey=${wrongKey}`,
    signal(),
  );
  await expect(client.listDeployments()).rejects.toMatchObject({ code: 'HUB_UNREACHABLE' });
});

test('HubClient ends a call when it is interrupted', async () => {
  await using server = createServer(() => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const interruption = new AbortController();
  using client = new HubClient(
    `HostName=127.0.0.1:${port};SharedAccessKeyName=service;SharedAccessKey=${wrongKey}`,
    interruption.signal,
  );
  const call = client.listDeployments();
  const reason = new Error('interrupted');
  interruption.abort(reason);
  await expect(call).rejects.toBe(reason);
});

test('HubClient calls a hub by its IP address', async () => {
  await using rig = await openEdgeRig();
  const { hubConnectionString = '' } = await rig.workspace.secrets();
  using client = new HubClient(hubConnectionString.replace('localhost', '127.0.0.1'), signal());
  expect(await client.listDeployments()).toEqual([]);
});

test('HubClient has the hub check a target condition', async () => {
  await using rig = await openEdgeRig();
  expect(await rig.client.testTargetCondition("tags.site='lab' AND deviceId <> 'x'")).toBeUndefined();
  expect(await rig.client.testTargetCondition('tags.site = = 1')).toBeTruthy();
});
