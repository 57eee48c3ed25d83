import { Client as DeviceClient, Message } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { createConnection } from 'node:net';
import { expect, test } from 'vitest';
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

test('a patch of an array reaches the device as it is, whatever the SDK makes of it', async () => {
  await using rig = await openHubRig();
  await rig.device('device-1');
  await rig.registry.updateTwin('device-1', { properties: { desired: { list: ['a', 'b', 'c'] } } }, '*');
  await rig.registry.updateTwin('device-1', { properties: { desired: { list: ['x'] } } }, '*');
  const client = DeviceClient.fromConnectionString(rig.hub.deviceConnectionString('device-1'), Mqtt);
  await client.open();
  expect((await client.getTwin()).properties.desired).toMatchObject({ list: ['x'] });
  await client.close();
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

test('a method that is not answered in time ends with 504101', { timeout: 15_000 }, async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  client.onDeviceMethod('silent', () => undefined);
  await until(async () => (await invoke(rig, 'nothing')).status !== 404);
  const answer = await rig.rest('POST', `/twins/device-1/methods?${version}`, {
    body: { methodName: 'silent', responseTimeoutInSeconds: 5 },
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
