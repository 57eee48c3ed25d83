import { Client as DeviceClient, Message, ModuleClient } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { openHubRig } from './hub-rig.ts';

test('a device opens, sends telemetry and closes', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  const message = new Message('{"temperature":21}');
  message.messageId = 'm-1';
  message.contentType = 'application/json';
  message.properties.add('alert', 'a b&c=d');
  await client.sendEvent(message);
  const [event] = rig.hub.readEvents();
  expect(event?.message.body.toString()).toBe('{"temperature":21}');
  expect(event?.message.system).toMatchObject({ messageId: 'm-1', contentType: 'application/json' });
  expect(event?.message.properties).toEqual({ alert: 'a b&c=d' });
  expect(event?.sender.address).toEqual({ deviceId: 'device-1', moduleId: undefined });
  await client.close();
});

test('a module sends to an output', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  const client = await rig.module('device-1', 'camera');
  await client.sendOutputEvent('frames', new Message('x'));
  const [event] = rig.hub.readEvents();
  expect(event?.message.system.outputName).toBe('frames');
  expect(event?.sender.address).toEqual({ deviceId: 'device-1', moduleId: 'camera' });
});

test('twin: get, report, desired change and $version', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  await rig.registry.updateTwin('device-1', { properties: { desired: { interval: 5, gone: 1 } } }, '*');
  const twin = await client.getTwin();
  expect(twin.properties.desired).toMatchObject({ interval: 5, gone: 1, $version: 2 });
  const reported = twin.properties.reported as { update: (patch: object, done: (error?: Error) => void) => void };
  await new Promise<void>((resolve, reject) => {
    reported.update({ state: { ok: true } }, (error) => (error ? reject(error) : resolve()));
  });
  const { responseBody } = await rig.registry.getTwin('device-1');
  expect(responseBody.properties.reported).toMatchObject({ state: { ok: true }, $version: 2 });
  const seen: unknown[] = [];
  twin.on('properties.desired', (patch: unknown) => seen.push(patch));
  await until(() => seen.length === 1);
  await rig.registry.updateTwin('device-1', { properties: { desired: { interval: 7, gone: null } } }, '*');
  await until(() => seen.length === 2);
  expect(seen[1]).toEqual({ interval: 7, gone: null, $version: 3 });
});

test('direct method: called, answered, refused when nobody listens', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  await expect(rig.service.invokeDeviceMethod('device-1', { methodName: 'ping', payload: {} })).rejects.toMatchObject({
    responseBody: expect.stringContaining('404103'),
  });
  client.onDeviceMethod('ping', (request, response) => {
    void response.send(201, { got: request.payload as unknown });
  });
  const result = await until(
    async () =>
      (await rig.service.invokeDeviceMethod('device-1', { methodName: 'ping', payload: { a: 1 } })).result as unknown,
  );
  expect(result).toEqual({ status: 201, payload: { got: { a: 1 } } });
});

test('cloud-to-device message reaches a listening device and one that connects later', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  const received: Message[] = [];
  client.on('message', (message: Message) => received.push(message));
  rig.hub.sendCommand('device-1', {
    system: { messageId: 'c-1' },
    properties: { speed: 'v 1' },
    body: Buffer.from('go'),
  });
  await until(() => received.length === 1);
  expect(received[0]?.data).toEqual(Buffer.from('go'));
  expect(received[0]?.messageId).toBe('c-1');
  expect(received[0]?.properties.getValue('speed')).toBe('v 1');
  await until(
    async () => (await rig.registry.get('device-1')).responseBody.cloudToDeviceMessageCount?.toString() === '0',
  );
});

test('subscriptions outlive a token renewal, at which the SDK subscribes to nothing again', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  const client = await openWith(rig, { tokenRenewal: { tokenValidTimeInSeconds: 2, tokenRenewalMarginInSeconds: 1 } });
  const twin = await client.getTwin();
  const seen: { interval?: number }[] = [];
  twin.on('properties.desired', (patch: { interval?: number }) => seen.push(patch));
  client.onDeviceMethod('ping', (_request, response) => void response.send(200));
  await until(() => rig.hub.connectCount('device-1') >= 3, { timeoutMs: 15_000, what: 'two renewals' });
  await until(async () => {
    await rig.registry.updateTwin('device-1', { properties: { desired: { interval: seen.length } } }, '*');
    return seen.length > 1;
  });
  expect(seen.at(-1)).toHaveProperty('interval');
  await client.close();
});

test('a second connection of the same id takes over, and the first can take over again', async () => {
  await using rig = await openHubRig();
  const first = await rig.device('device-1');
  const second = DeviceClient.fromConnectionString(rig.hub.deviceConnectionString('device-1'), Mqtt);
  await second.open();
  await second.sendEvent(new Message('second'));
  await first.sendEvent(new Message('first'));
  expect(rig.hub.connectCount('device-1')).toBe(3);
  expect(rig.hub.readEvents().map(({ message }) => message.body.toString())).toEqual(['second', 'first']);
});

test.each([
  ['a wrong key', `DeviceId=device-1;SharedAccessKey=${Buffer.from('wrong').toString('base64')}`],
  ['an unknown device', `DeviceId=nobody;SharedAccessKey=${Buffer.from('wrong').toString('base64')}`],
])('a device with %s is not let in', async (_what, rest) => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  const client = DeviceClient.fromConnectionString(`HostName=${rig.hub.hostName};${rest}`, Mqtt);
  await expect(client.open()).rejects.toMatchObject({ name: 'UnauthorizedError' });
});

test('a device may use its secondary key, and $edgeAgent the key of its device', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
  const { responseBody } = await rig.registry.get('edge-1');
  const { primaryKey, secondaryKey } = responseBody.authentication?.symmetricKey ?? {};
  const prefix = `HostName=${rig.hub.hostName};DeviceId=edge-1`;
  const clients: (DeviceClient | ModuleClient)[] = [
    DeviceClient.fromConnectionString(`${prefix};SharedAccessKey=${secondaryKey}`, Mqtt),
    ModuleClient.fromConnectionString(`${prefix};ModuleId=$edgeAgent;SharedAccessKey=${primaryKey}`, Mqtt),
  ];
  for (const client of clients) {
    await client.open();
    expect((await client.getTwin()).properties.desired).toMatchObject({ $version: 1 });
    await client.close();
  }
});

async function openWith(rig: Awaited<ReturnType<typeof openHubRig>>, options: object): Promise<DeviceClient> {
  const client = DeviceClient.fromConnectionString(rig.hub.deviceConnectionString('device-1'), Mqtt);
  await client.setOptions(options);
  await client.open();
  return client;
}
