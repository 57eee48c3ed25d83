import { Message as ServiceMessage } from 'azure-iot-common';
import { Client as DeviceClient, Message } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { type HubRig, openHubRig } from './hub-rig.ts';

const version = 'api-version=2021-04-12';

test('messages: 256 KB from a device, over MQTT and HTTPS, and no more; 64 KB to a device', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  await client.sendEvent(new Message(Buffer.alloc(262_144 - 200)));
  const post = async (bytes: number) =>
    await rig.rest('POST', `/devices/device-1/messages/events?${version}`, { body: 'x'.repeat(bytes) });
  expect(await post(262_144)).toMatchObject({ status: 204 });
  expect(await post(262_145)).toMatchObject({ status: 413 });
  expect(rig.hub.readEvents()).toHaveLength(2);
  await rig.service.open();
  await rig.service.send('device-1', Buffer.alloc(65_000) as never);
  await expect(rig.service.send('device-1', Buffer.alloc(65_537) as never)).rejects.toMatchObject({
    name: 'MessageTooLargeError',
  });
  await rig.service.close();
});

test('twins: 32 KB desired, 32 KB reported, 8 KB of tags, 4 KB a value, ten levels, each to the byte', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  const twin = await client.getTwin();
  const report = async (patch: object) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    twin.properties.reported['update'](patch, (error: Error | null) => resolve(error === null ? 'ok' : error.message));
    return await promise;
  };
  const change = async (body: object) => {
    const answer = await rig.rest('PATCH', `/twins/device-1?${version}`, { body });
    return answer.status === 200 ? 'ok' : `${answer.status} ${String(answer.body.Message)}`;
  };
  const desired = async (patch: object) => await change({ properties: { desired: patch } });
  const limits = [
    [report, 32_768, "'Properties.Reported' size should be less than 32768 bytes."],
    [
      desired,
      32_768,
      "403 ErrorCode:DeviceModelMaxPropertiesExceeded;'Properties.Desired' size should be less than 32768 bytes.",
    ],
    [
      async (tags: object) => await change({ tags }),
      8192,
      "403 ErrorCode:DeviceModelMaxPropertiesExceeded;'Tags' size should be less than 8192 bytes.",
    ],
  ] as const;
  for (const [set, bytes, refusal] of limits) {
    expect(await set(sized(bytes))).toBe('ok');
    expect(await set(sized(bytes + 1))).toBe(refusal);
    expect(await set(Object.fromEntries(Object.keys(sized(bytes)).map((key) => [key, null])))).toBe('ok');
    expect(await set({ value: 'x'.repeat(4096) })).toBe('ok');
    expect(await set({ value: 'x'.repeat(4097) })).toMatch(/Property or Tag value should be maximum 4096 bytes/);
    expect(await set(nested(10))).toBe('ok');
    expect(await set(nested(11))).toMatch(/depth of 10/);
    expect(await set({ 'a.b': 1 })).toMatch(/names must not/);
    expect(await set({ large: 4_503_599_627_370_497 })).toMatch(/Integer values must be between/);
  }
});

test('a device whose clock is off by more than its tokens last is refused, and let in when the clocks agree', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  const open = async () => {
    const client = DeviceClient.fromConnectionString(rig.hub.deviceConnectionString('device-1'), Mqtt);
    await client.setOptions({ tokenRenewal: { tokenValidTimeInSeconds: 30, tokenRenewalMarginInSeconds: 5 } });
    await client.open();
    await client.close();
  };
  rig.hub.faults.change({ clockSkewMs: 20_000 });
  await open();
  rig.hub.faults.change({ clockSkewMs: 40_000 });
  await expect(open()).rejects.toMatchObject({ name: 'UnauthorizedError' });
  rig.hub.faults.change({ clockSkewMs: 0 });
  await open();
});

test('a message to a device is given ten times at most, then it is dead, and its sender hears of it', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  await rig.service.open();
  const told: unknown[] = [];
  const receiver = (await rig.service.getFeedbackReceiver()).result as unknown as NodeJS.EventEmitter;
  receiver.on('message', (message: { readonly data: Buffer }) => {
    told.push(...(JSON.parse(message.data.toString()) as unknown[]));
  });
  const message = new ServiceMessage('x');
  message.messageId = 'm-1';
  message.ack = 'full';
  await rig.service.send('device-1', message);
  for (let count = 1; count <= 10; count += 1) expect(await abandon(rig)).toBe(200);
  expect(await abandon(rig)).toBe(204);
  await until(() => told.length === 1);
  expect(told[0]).toMatchObject({
    originalMessageId: 'm-1',
    deviceId: 'device-1',
    statusCode: 'DeliveryCountExceeded',
  });
  await rig.service.close();
});

/** Takes the next message of a device and gives it back; gives the status that taking it was answered with. */
async function abandon(rig: HubRig): Promise<number> {
  const queue = '/devices/device-1/messages/devicebound';
  const answer = await rig.rest('GET', `${queue}?${version}`);
  if (answer.status === 200) {
    const token = String(answer.headers['etag']).replaceAll('"', '');
    await rig.rest('POST', `${queue}/${token}/abandon?${version}`);
  }
  return answer.status;
}

/** Makes an object of so many bytes, as the hub counts: names and strings by their length. */
function sized(bytes: number): Record<string, string> {
  const name = (index: number) => `key${String(index).padStart(5, '0')}`;
  const whole = Math.floor(bytes / 4008);
  const rest = bytes - whole * 4008;
  const entries = Array.from({ length: whole }, (_, index) => [name(index), 'x'.repeat(4000)]);
  return Object.fromEntries([...entries, ...(rest > 8 ? [[name(whole), 'x'.repeat(rest - 8)]] : [])]) as Record<
    string,
    string
  >;
}

function nested(depth: number): object {
  return depth === 1 ? { end: true } : { inner: nested(depth - 1) };
}
