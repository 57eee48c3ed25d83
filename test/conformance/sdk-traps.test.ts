import { ExponentialBackOffWithJitter, NoRetry } from 'azure-iot-common';
import { Client as DeviceClient, Message } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { createConnection } from 'node:net';
import { expect, test } from 'vitest';
import { rawMqtt } from '../simulators/hub/raw-mqtt.ts';
import { until } from '../until.ts';
import { type HubRig, openHubRig } from './hub-rig.ts';

// What the SDKs do that a simulator has to survive, each seen with the real packages.

const version = 'api-version=2021-04-12';

test('after a dropped socket the twin topics still deliver, though the SDK never subscribes to them again', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  const twin = await client.getTwin();
  const seen: { readonly step?: number }[] = [];
  twin.on('properties.desired', (patch: { readonly step?: number }) => seen.push(patch));
  client.onDeviceMethod('ping', (_request, response) => void response.send(200));
  await until(async () => (await invoke(rig, 'ping')).status === 200);
  await rig.rest('POST', '/_sim/devices/device-1/drop');
  await until(() => rig.hub.connectCount('device-1') === 2);
  await rig.registry.updateTwin('device-1', { properties: { desired: { step: 1 } } }, '*');
  await until(() => seen.some(({ step }) => step === 1));
  expect((await client.getTwin()).properties.desired).toMatchObject({ step: 1, $version: 2 });
});

test('a client that only sends telemetry comes back with its next event', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  await client.sendEvent(new Message('before'));
  await rig.rest('POST', '/_sim/devices/device-1/drop');
  await until(() => !rig.hub.isConnected('device-1'));
  await client.sendEvent(new Message('after'));
  expect(rig.hub.readEvents().map(({ message }) => message.body.toString())).toEqual(['before', 'after']);
});

test('the SDK does not read its twin again after a reconnect: what was missed is in the next getTwin()', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  const twin = await client.getTwin();
  const seen: unknown[] = [];
  twin.on('properties.desired', (patch: unknown) => seen.push(patch));
  // The first one is what is desired at the time.
  await until(() => seen.length === 1);
  await rig.rest('POST', '/_sim/devices/device-1/drop');
  await until(() => !rig.hub.isConnected('device-1'));
  await rig.registry.updateTwin('device-1', { properties: { desired: { missed: true } } }, '*');
  // Without listeners of methods or messages it comes back with its next event only.
  await client.sendEvent(new Message('back'));
  await rig.registry.updateTwin('device-1', { properties: { desired: { seen: true } } }, '*');
  await until(() => seen.length === 2);
  expect(seen[1]).toEqual({ seen: true, $version: 3 });
  expect((await client.getTwin()).properties.desired).toMatchObject({ missed: true, seen: true });
});

test('a patch of an array reaches the device as it is, whatever the SDK makes of it', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  await rig.registry.updateTwin('device-1', { properties: { desired: { list: ['a', 'b', 'c'] } } }, '*');
  const twin = await client.getTwin();
  const seen: unknown[] = [];
  twin.on('properties.desired', (patch: unknown) => seen.push(patch));
  await until(() => seen.length === 1);
  await rig.registry.updateTwin('device-1', { properties: { desired: { list: ['x'] } } }, '*');
  await until(() => seen.length === 2);
  expect(seen[1]).toEqual({ list: ['x'], $version: 3 });
  // The SDK merges arrays by place; reading again is the way out.
  expect(twin.properties.desired).toMatchObject({ list: ['x', 'b', 'c'] });
  expect((await client.getTwin()).properties.desired).toMatchObject({ list: ['x'] });
});

test('a twin is asked for with one space, or nothing, and quality of service 0', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  using raw = await rawMqtt(rig.hub, 'device-1');
  raw.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '$iothub/twin/res/#', qos: 0 }] });
  await raw.next('suback');
  for (const payload of [' ', '']) {
    const topic = '$iothub/twin/GET/?$rid=r-1';
    raw.send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false });
    const answer = await raw.next('publish');
    expect(answer.topic).toBe('$iothub/twin/res/200/?$rid=r-1');
    expect(JSON.parse(String(answer.payload))).toEqual({ desired: { $version: 1 }, reported: { $version: 1 } });
  }
});

test('a refusal has its status in the topic and its number in the body, the only one that the SDK looks at', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  using raw = await rawMqtt(rig.hub, 'device-1');
  raw.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '$iothub/twin/res/#', qos: 0 }] });
  await raw.next('suback');
  const large = Object.fromEntries(Array.from({ length: 9 }, (_, index) => [`k${index}`, 'x'.repeat(4000)]));
  const report = async (payload: string) => {
    const topic = '$iothub/twin/PATCH/properties/reported/?$rid=7';
    raw.send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false });
    const answer = await raw.next('publish');
    return { topic: answer.topic, body: JSON.parse(String(answer.payload)) as unknown };
  };
  expect(await report(JSON.stringify(large))).toEqual({
    topic: '$iothub/twin/res/403/?$rid=7',
    body: {
      errorCode: 403100,
      message: "'Properties.Reported' size should be less than 32768 bytes.",
      trackingId: expect.any(String),
      details: null,
    },
  });
  expect(await report('{')).toMatchObject({ topic: '$iothub/twin/res/400/?$rid=7', body: { errorCode: 400006 } });
  rig.hub.faults.change({ throttleRequests: 1, failRequests: 1 });
  expect(await report('{}')).toMatchObject({ topic: '$iothub/twin/res/429/?$rid=7', body: { errorCode: 429001 } });
  expect(await report('{}')).toMatchObject({ topic: '$iothub/twin/res/500/?$rid=7', body: { errorCode: 500001 } });
});

test('the first open() of a hub that is not there fails as unauthorized; the hub has no part in it', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  const text = rig.hub.deviceConnectionString('device-1').replace(/localhost:\d+/, 'localhost:1');
  const client = DeviceClient.fromConnectionString(text, Mqtt);
  await expect(client.open()).rejects.toMatchObject({
    name: 'UnauthorizedError',
    message: expect.stringContaining('ECONNREFUSED'),
  });
});

test('the truncated JSON of a blob name that is not ASCII is answered with 400', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  await client.setOptions({ http: { agent: rig.agent } });
  await expect(client.getBlobSharedAccessSignature('größe.csv')).rejects.toMatchObject({
    responseBody: expect.stringContaining('ErrorCode:'),
  });
  expect(await rig.rest('GET', `/devices/device-1?${version}`)).toMatchObject({ status: 200 });
});

test('errors come as the SDK takes them apart: 404 of a device, of a method, 412, and the trailing slash of list()', async () => {
  await using rig = await openHubRig();
  await expect(rig.registry.get('nobody')).rejects.toMatchObject({ name: 'DeviceNotFoundError' });
  await rig.registry.create({ deviceId: 'device-1' });
  await expect(rig.registry.create({ deviceId: 'device-1' })).rejects.toMatchObject({
    name: 'DeviceAlreadyExistsError',
  });
  const offline = (await rig.service
    .invokeDeviceMethod('device-1', { methodName: 'x', payload: null })
    .catch((error: unknown) => error)) as { readonly message: string; readonly responseBody: string };
  expect(offline.message).toBe('Not found');
  expect(JSON.parse((JSON.parse(offline.responseBody) as { readonly Message: string }).Message)).toMatchObject({
    errorCode: 404103,
    message: 'Timed out waiting for device to connect.',
  });
  await expect(rig.registry.updateTwin('device-1', { tags: {} }, 'AAAAAAAAAA8=')).rejects.toMatchObject({
    name: 'InvalidEtagError',
  });
  expect((await rig.registry.list()).responseBody).toHaveLength(1);
});

test('the SDK takes any 403 for too many devices, a 504 for a time-out, and module ids come with %24', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
  const tags = Object.fromEntries(Array.from({ length: 3 }, (_, index) => [`k${index}`, 'x'.repeat(4000)]));
  await expect(rig.registry.updateTwin('edge-1', { tags }, '*')).rejects.toMatchObject({
    name: 'TooManyDevicesError',
    responseBody: expect.stringContaining("'Tags' size should be less than 8192 bytes."),
  });
  expect((await rig.registry.getModule('edge-1', '$edgeAgent')).responseBody).toMatchObject({ moduleId: '$edgeAgent' });
  const client = await rig.device('device-1');
  client.onDeviceMethod('silent', () => undefined);
  const call = { methodName: 'silent', payload: null, responseTimeoutInSeconds: 5 };
  rig.service.setRetryPolicy(new NoRetry());
  const error = await until(async () => {
    const found = (await rig.service.invokeDeviceMethod('device-1', call).catch((thrown: unknown) => thrown)) as Error;
    return found.message === 'Not found' ? undefined : found;
  });
  expect(error).toMatchObject({ name: 'GatewayTimeoutError' });
}, 20_000);

test('after a 429 the SDK of the back end tries again by itself, but its registry does not', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  client.onDeviceMethod('ping', (_request, response) => void response.send(200));
  await until(async () => (await invoke(rig, 'ping')).status === 200);
  const soon = new ExponentialBackOffWithJitter(true);
  Object.assign(soon.throttledParameters, { c: 10, cMin: 10, cMax: 50 });
  rig.service.setRetryPolicy(soon);
  rig.hub.faults.change({ throttleRequests: 3 });
  await rig.service.invokeDeviceMethod('device-1', { methodName: 'ping', payload: null });
  expect(rig.hub.faults.settings.throttleRequests).toBe(0);
  rig.hub.faults.change({ throttleRequests: 1 });
  await expect(rig.registry.get('device-1')).rejects.toMatchObject({ name: 'ThrottlingError' });
});

test('a cloud-to-device message is done once the SDK has it: complete() does nothing, reject() and abandon() throw', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  const received: Message[] = [];
  client.on('message', (message: Message) => void received.push(message));
  await until(() => rig.hub.isConnected('device-1'));
  rig.hub.sendCommand('device-1', { system: {}, properties: {}, body: Buffer.from('once') });
  const [message] = await until(() => (received.length > 0 ? received : undefined));
  await until(async () => {
    const { body } = await rig.rest('GET', `/devices/device-1?${version}`);
    return body.cloudToDeviceMessageCount === 0;
  });
  if (message === undefined) throw new Error('no message');
  await client.complete(message);
  await expect((async () => await client.reject(message))()).rejects.toThrow(/does not support/);
  await expect((async () => await client.abandon(message))()).rejects.toThrow(/does not support/);
  await rig.rest('POST', '/_sim/devices/device-1/drop');
  await until(() => rig.hub.connectCount('device-1') === 2);
  expect(received).toHaveLength(1);
});

test('the SDK throws at the status 0 of a method, and the caller waits; the hub passes on any other', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  const thrown: unknown[] = [];
  client.onDeviceMethod('zero', (_request, response) => {
    response.send(0).catch((error: unknown) => thrown.push(error));
  });
  client.onDeviceMethod('minus', (_request, response) => void response.send(-1, 'refused'));
  await until(async () => (await invoke(rig, 'minus')).status === 200);
  expect(await invoke(rig, 'minus')).toMatchObject({ body: { status: -1, payload: 'refused' } });
  expect(await invoke(rig, 'zero')).toMatchObject({ status: 504 });
  expect(String(thrown[0])).toContain('falsy');
}, 20_000);

test('a method that is not answered in time ends with 504101', { timeout: 15_000 }, async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  client.onDeviceMethod('silent', () => undefined);
  const answer = await rig.rest('POST', `/twins/device-1/methods?${version}`, {
    body: { methodName: 'silent', responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 10 },
  });
  expect(answer).toMatchObject({ status: 504 });
  expect(JSON.parse(answer.body.Message)).toMatchObject({
    errorCode: 504101,
    message: 'Timed out waiting for the response from device.',
  });
});

test('connectTimeoutInSeconds waits for a device that comes later', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  const waiting = rig.rest('POST', `/twins/device-1/methods?${version}`, {
    body: { methodName: 'ping', payload: 1, connectTimeoutInSeconds: 20 },
  });
  const client = DeviceClient.fromConnectionString(rig.hub.deviceConnectionString('device-1'), Mqtt);
  client.onDeviceMethod('ping', (request, response) => response.send(200, request.payload as never));
  await client.open();
  expect(await waiting).toMatchObject({ status: 200, body: { status: 200, payload: 1 } });
  await client.close();
});

test('what speaks neither TLS nor a known protocol harms nobody', async () => {
  await using rig = await openHubRig();
  const socket = createConnection({ host: '127.0.0.1', port: rig.hub.port });
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.end('GET / HTTP/1.1\r\n\r\n');
  await closed;
  expect(await rig.rest('GET', `/devices?${version}`)).toMatchObject({ status: 200, body: [] });
});

async function invoke(rig: HubRig, methodName: string): Promise<{ readonly status: number }> {
  return await rig.rest('POST', `/twins/device-1/methods?${version}`, {
    body: { methodName, responseTimeoutInSeconds: 5 },
  });
}
