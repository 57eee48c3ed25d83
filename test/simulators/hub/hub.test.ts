import { Client as DeviceClient, Message, type Twin } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { expect, test } from 'vitest';
import { systemClock } from '../../../shared/clock.ts';
import { openCertificates } from '../../../simulators/certificates.ts';
import { startHub } from '../../../simulators/hub/hub.ts';
import { openHubRig } from '../../conformance/hub-rig.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { rawMqtt, tokenFor } from './raw-mqtt.ts';

const version = 'api-version=2021-04-12';

test('startHub() with a folder keeps devices, keys, twins, sessions, messages and deployments over a restart', async () => {
  await using folder = await temporaryFolder();
  const options = { folder: folder.path, name: 'kept' };
  const before = await (async () => {
    await using rig = await openHubRig(options);
    await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
    await rig.registry.updateTwin('edge-1', { tags: { site: 'a' }, properties: { desired: { x: 1 } } }, '*');
    const content = { modulesContent: { $edgeAgent: { 'properties.desired': { schemaVersion: '1.1' } } } };
    await rig.registry.addConfiguration({
      id: 'all',
      schemaVersion: '1.0',
      priority: 1,
      targetCondition: '*',
      content,
    });
    await rig.hub.settled();
    await sendAs(rig.hub.deviceConnectionString('edge-1'), 'kept');
    rig.hub.sendCommand('edge-1', { system: {}, properties: {}, body: Buffer.from('waits') });
    const keys = Object.values(rig.hub.connectionStrings).map((text) => text.replace(/HostName=[^;]+/, ''));
    return {
      keys,
      twin: (await rig.rest('GET', `/twins/edge-1?${version}`)).body,
      agent: (await rig.rest('GET', `/twins/edge-1/modules/%24edgeAgent?${version}`)).body,
      all: (await rig.rest('GET', `/configurations/all?${version}`)).body,
    };
  })();
  await using rig = await openHubRig(options);
  const after = {
    keys: Object.values(rig.hub.connectionStrings).map((text) => text.replace(/HostName=[^;]+/, '')),
    twin: (await rig.rest('GET', `/twins/edge-1?${version}`)).body,
    agent: (await rig.rest('GET', `/twins/edge-1/modules/%24edgeAgent?${version}`)).body,
    all: (await rig.rest('GET', `/configurations/all?${version}`)).body,
  };
  // Who is connected, and when it last was, is not kept.
  expect(JSON.parse(JSON.stringify(after, withoutActivity))).toEqual(
    JSON.parse(JSON.stringify(before, withoutActivity)),
  );
  const client = DeviceClient.fromConnectionString(rig.hub.deviceConnectionString('edge-1'), Mqtt);
  expect(rig.hub.readEvents().map(({ message }) => message.body.toString())).toEqual(['kept']);
  const received: unknown[] = [];
  client.on('message', (message: Message) => received.push(message.data));
  await client.open();
  await until(() => received.length === 1);
  expect(received).toEqual([Buffer.from('waits')]);
  await client.close();
});

test('startHub() says that the port is in use', async () => {
  await using rig = await openHubRig();
  await using folder = await temporaryFolder();
  const certificates = await openCertificates(folder.path);
  await expect(startHub({ certificates, port: rig.hub.port })).rejects.toMatchObject({ code: 'PORT_IN_USE' });
});

test('evaluateEveryMs: a deployment reaches its devices, and its metrics move, only at the next evaluation', async () => {
  await using rig = await openHubRig({ evaluateEveryMs: 300 });
  await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
  const content = { modulesContent: { $edgeAgent: { 'properties.desired': { schemaVersion: '1.1' } } } };
  const { responseBody } = await rig.registry.addConfiguration({
    id: 'all',
    schemaVersion: '1.0',
    priority: 1,
    targetCondition: '*',
    content,
  });
  expect(responseBody.systemMetrics?.results).toEqual({});
  await until(
    async () =>
      (await rig.registry.getConfiguration('all')).responseBody.systemMetrics?.results?.['appliedCount'] === 1,
  );
});

test('twin: what breaks a limit is refused with the error of the hub, over MQTT and over REST', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  const twin = await client.getTwin();
  const filler = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, 'x'.repeat(4000)]));
  await expect(report(twin, filler(9))).rejects.toThrow("'Properties.Reported' size should be less than 32768 bytes.");
  await expect(report(twin, { 'a.b': 1 })).rejects.toThrow(/names must not/);
  await expect(report(twin, { a: 'x'.repeat(4097) })).rejects.toThrow(
    'Property or Tag value should be maximum 4096 bytes. Error in Property/Tag Properties.Reported.a',
  );
  await expect(report(twin, { a: 2 ** 53 })).rejects.toThrow(/Integer values must be between/);
  await expect(report(twin, nested(11))).rejects.toThrow(/Maximum depth of 10/);
  await expect(report(twin, nested(10))).resolves.toBeUndefined();
  const patch = async (body: object) => await rig.rest('PATCH', `/twins/device-1?${version}`, { body });
  expect(await patch({ properties: { desired: filler(9) } })).toMatchObject({
    status: 403,
    body: {
      Message: "ErrorCode:DeviceModelMaxPropertiesExceeded;'Properties.Desired' size should be less than 32768 bytes.",
    },
  });
  expect(await patch({ tags: filler(3) })).toMatchObject({ status: 403 });
  expect(await patch({ tags: { 'a b': 1 } })).toMatchObject({
    status: 400,
    headers: { 'iothub-errorcode': 'ArgumentInvalid' },
  });
  // Nothing of what was refused is there.
  expect((await rig.registry.getTwin('device-1')).responseBody).toMatchObject({
    tags: {},
    properties: { desired: { $version: 1 }, reported: { $version: 2 } },
  });
});

test('an expired token ends a live connection', async () => {
  let skewMs = 0;
  await using rig = await openHubRig({ clock: { ...systemClock, nowMs: () => Date.now() + skewMs } });
  const client = await rig.device('device-1');
  const twin = await client.getTwin();
  expect(twin.properties.desired).toMatchObject({ $version: 1 });
  const connected = async () => (await rig.registry.get('device-1')).responseBody.connectionState;
  expect(await connected()).toBe('Connected');
  skewMs = 3_601_000;
  await until(() => !rig.hub.isConnected('device-1'), { what: 'the end of the connection' });
});

test('cloud-to-device: what expires goes, and says so to who asked', async () => {
  let skewMs = 0;
  await using rig = await openHubRig({ clock: { ...systemClock, nowMs: () => Date.now() + skewMs } });
  await rig.registry.create({ deviceId: 'device-1' });
  rig.hub.sendCommand('device-1', { system: {}, properties: {}, body: Buffer.from('old') });
  expect((await rig.registry.get('device-1')).responseBody).toMatchObject({ cloudToDeviceMessageCount: 1 });
  skewMs = 3_601_000;
  await until(
    async () =>
      (await rig.rest('GET', `/devices/device-1?${version}`, { headers: {} })).body.cloudToDeviceMessageCount !== 1,
  );
});

test('a disabled device is cut and not let in', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  await rig.registry.update({ deviceId: 'device-1', status: 'disabled' });
  await until(() => !rig.hub.isConnected('device-1'));
  await client.close().catch(() => undefined);
  const again = DeviceClient.fromConnectionString(rig.hub.deviceConnectionString('device-1'), Mqtt);
  await expect(again.open()).rejects.toMatchObject({ name: 'UnauthorizedError' });
});

test('faults: throttling, failing, an outage and a skewed clock, switched on and off at run time', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  const set = async (body: object) => await rig.rest('PATCH', '/_sim/faults', { body });
  expect(await set({ throttleRequests: 1, failRequests: 1 })).toMatchObject({
    status: 200,
    body: { throttleRequests: 1, outageMs: 0 },
  });
  expect(await rig.rest('GET', `/devices?${version}`)).toMatchObject({ status: 429 });
  expect(await rig.rest('GET', `/devices?${version}`)).toMatchObject({ status: 500 });
  expect(await rig.rest('GET', `/devices?${version}`)).toMatchObject({ status: 200 });
  await set({ losePubacks: 1 });
  const unacknowledged = client.sendEvent(new Message('first')).then(() => 'acknowledged');
  unacknowledged.catch(() => undefined);
  await client.sendEvent(new Message('second'));
  expect(rig.hub.readEvents()).toHaveLength(2);
  expect(await Promise.race([unacknowledged, Promise.resolve('lost')])).toBe('lost');
  await set({ outageMs: 600_000 });
  await until(() => !rig.hub.isConnected('device-1'));
  expect(await rig.rest('GET', `/devices?${version}`)).toMatchObject({ status: 503 });
  const late = DeviceClient.fromConnectionString(rig.hub.deviceConnectionString('device-1'), Mqtt);
  // "Server unavailable" is one of the few refusals that the SDK tries again after.
  const opened = late.open();
  expect(await set({ outageMs: 0 })).toMatchObject({ body: { outageMs: 0 } });
  await opened;
  await late.close();
  await set({ clockSkewMs: 7_200_000 });
  expect(await rig.rest('GET', `/devices?${version}`)).toMatchObject({ status: 401 });
  rig.hub.faults.change({ clockSkewMs: 0 });
  expect(await rig.rest('GET', `/devices?${version}`)).toMatchObject({ status: 200 });
  expect(await set({ nonsense: 1 })).toMatchObject({ status: 400 });
});

function withoutActivity(name: string, value: unknown): unknown {
  return name === 'lastActivityTime' ? undefined : value;
}

async function sendAs(connectionString: string, text: string): Promise<void> {
  const client = DeviceClient.fromConnectionString(connectionString, Mqtt);
  await client.open();
  await client.sendEvent(new Message(text));
  await client.close();
}

test('faults: delay, refusal of connections, and the expiry of a token', async () => {
  await using rig = await openHubRig();
  const list = async () => await rig.rest('GET', `/devices?${version}`);
  const client = await rig.device('device-1');
  rig.hub.faults.change({ delayMs: 300 });
  const begin = performance.now();
  await Promise.all([list(), client.sendEvent(new Message('late'))]);
  expect(performance.now() - begin).toBeGreaterThanOrEqual(300);
  rig.hub.faults.change({ delayMs: 0, refuseConnections: true });
  await expect(list()).rejects.toThrow(/socket|reset/i);
  const refused = DeviceClient.fromConnectionString(rig.hub.deviceConnectionString('device-1'), Mqtt);
  await expect(refused.open()).rejects.toThrow(/first connection/i);
  expect(await rig.rest('DELETE', '/_sim/faults')).toMatchObject({ status: 200, body: { refuseConnections: false } });
  expect(await list()).toMatchObject({ status: 200 });

  using raw = await rawMqtt(rig.hub, 'device-1', { password: tokenFor(rig.hub, 1000) });
  expect(await raw.next('connack')).toMatchObject({ returnCode: 0 });
  expect(await rig.rest('POST', '/_sim/devices/device-1/expire')).toMatchObject({ status: 204 });
  expect(await raw.closed()).toBe(true);
  using again = await rawMqtt(rig.hub, 'device-1', { password: tokenFor(rig.hub, 900) });
  expect(await again.next('connack')).toMatchObject({ returnCode: 4 });
  using fresh = await rawMqtt(rig.hub, 'device-1', { password: tokenFor(rig.hub, 5000) });
  expect(await fresh.next('connack')).toMatchObject({ returnCode: 0 });
});

function nested(depth: number): object {
  return depth === 1 ? { end: true } : { inner: nested(depth - 1) };
}

async function report(twin: Twin, patch: object): Promise<void> {
  const reported = twin.properties.reported as { update: (patch: object, done: (error?: Error) => void) => void };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  reported.update(patch, (error) => (error ? reject(error) : resolve()));
  await promise;
}
