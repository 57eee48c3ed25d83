import type { IConnectPacket } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { openHubRig } from '../../../conformance/hub-rig.ts';
import { until } from '../../../until.ts';
import { type RawMqtt, rawMqtt } from '../raw-mqtt.ts';

const events = 'devices/d/messages/events/';
const publish = { cmd: 'publish', qos: 1, dup: false, retain: false, messageId: 9 } as const;

async function open(change: Partial<IConnectPacket> = {}) {
  const rig = await openHubRig();
  await rig.registry.create({ deviceId: 'd' });
  return {
    rig,
    client: await rawMqtt(rig.hub, 'd', change),
    [Symbol.asyncDispose]: async () => await rig[Symbol.asyncDispose](),
  };
}

test.each([
  ['MQTT 3.1', { protocolId: 'MQIsdp', protocolVersion: 3 }, 1],
  ['another client id', { clientId: 'other' }, 2],
  ['no user name', { username: '' }, 5],
  ['another hub', { username: 'other.azure-devices.net/d/?api-version=2021-04-12' }, 5],
  ['a user name without api-version', { username: 'localhost/d/?x=1' }, 5],
  ['no password', { password: Buffer.alloc(0) }, 4],
  ['a token that is none', { password: Buffer.from('secret') }, 4],
  ['a will to another topic', { will: { topic: 'x', payload: Buffer.from('x'), qos: 1 } }, 5],
] as const)('a CONNECT with %s is answered with %o and code %i', async (_what, change, returnCode) => {
  await using rig = await open(change);
  expect(await rig.client.next('connack')).toMatchObject({ returnCode });
  expect(await rig.client.closed()).toBe(true);
});

test('sessionPresent says whether a session was kept; a clean one drops it', async () => {
  await using rig = await open({ clean: false });
  expect(await rig.client.next('connack')).toMatchObject({ returnCode: 0, sessionPresent: false });
  await subscribe(rig.client, '$iothub/twin/res/#');
  for (const [clean, isPresent] of [
    [false, true],
    [true, false],
    [false, false],
  ] as const) {
    using next = await rawMqtt(rig.rig.hub, 'd', { clean });
    expect(await next.next('connack')).toMatchObject({ sessionPresent: isPresent });
  }
});

test('quality of service 2 is granted as 1, and a filter that is not documented is refused', async () => {
  await using rig = await open();
  rig.client.send({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: [
      { topic: 'devices/d/messages/devicebound/#', qos: 2 },
      { topic: '#', qos: 0 },
      { topic: '$iothub/methods/POST/#', qos: 0 },
    ],
  });
  expect(await rig.client.next('suback')).toMatchObject({ granted: [1, 0x80, 0] });
  rig.client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['$iothub/methods/POST/#'] });
  expect(await rig.client.next('unsuback')).toMatchObject({ messageId: 2 });
});

test('retain and dup become properties of the message', async () => {
  await using rig = await open();
  rig.client.send({ ...publish, topic: events, payload: 'x', retain: true, dup: true });
  expect(await rig.client.next('puback')).toMatchObject({ messageId: 9 });
  expect(rig.rig.hub.readEvents()[0]?.message.properties).toEqual({ 'mqtt-retain': 'true', 'mqtt-dup': 'true' });
});

test('a message of 256 KiB is taken, a larger one ends the connection', async () => {
  await using rig = await open();
  rig.client.send({ ...publish, topic: events, payload: Buffer.alloc(262_144) });
  await rig.client.next('puback');
  rig.client.send({ ...publish, topic: events, payload: Buffer.alloc(262_145) });
  await rig.client.closed();
  expect(rig.rig.hub.readEvents()).toHaveLength(1);
});

test.each(['$iothub/twin/GET/', 'devices/other/messages/events/', 'x'])(
  'a publication to %s ends the connection',
  async (topic) => {
    await using rig = await open();
    rig.client.send({ ...publish, topic, payload: '' });
    expect(await rig.client.closed()).toBe(true);
  },
);

test('a second CONNECT ends the connection', async () => {
  await using rig = await open();
  await rig.client.next('connack');
  rig.client.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId: 'd', clean: true, keepalive: 1 });
  expect(await rig.client.closed()).toBe(true);
});

test('a client that is silent for longer than 1.5 times its keep-alive is cut, one that pings is not', async () => {
  await using rig = await open({ keepalive: 1 });
  await rig.client.next('connack');
  const begin = performance.now();
  await until(() => {
    rig.client.send({ cmd: 'pingreq' });
    return performance.now() - begin > 2600;
  });
  expect(rig.client.isClosed()).toBe(false);
  expect(await rig.client.closed()).toBe(true);
});

test('a will is not sent after a DISCONNECT', async () => {
  await using rig = await open({ will: { topic: events, payload: Buffer.from('gone'), qos: 1 } });
  await rig.client.next('connack');
  rig.client.send({ cmd: 'disconnect' });
  await rig.client.closed();
  await until(() => !rig.rig.hub.isConnected('d'));
  expect(rig.rig.hub.readEvents()).toEqual([]);
});

test('a report for another $version, and one that is no JSON, get the error of the hub', async () => {
  await using rig = await open();
  await subscribe(rig.client, '$iothub/twin/res/#');
  const ask = async (query: string, payload: string) => {
    rig.client.send({ ...publish, qos: 0, topic: `$iothub/twin/PATCH/properties/reported/?$rid=7${query}`, payload });
    const { topic, payload: answer } = await rig.client.next('publish');
    return { topic, body: answer.length === 0 ? undefined : (JSON.parse(answer.toString()) as unknown) };
  };
  expect(await ask('&$version=1', '{"a":1}')).toEqual({
    topic: '$iothub/twin/res/204/?$rid=7&$version=2',
    body: undefined,
  });
  expect(await ask('&$version=1', '{"a":1}')).toMatchObject({
    topic: '$iothub/twin/res/412/?$rid=7',
    body: { errorCode: 412001 },
  });
  expect(await ask('', '{"a":')).toMatchObject({
    topic: '$iothub/twin/res/400/?$rid=7',
    body: { errorCode: 400006, details: null },
  });
});

test('a cloud-to-device message that is not acknowledged is given again, marked as such', async () => {
  await using rig = await open({ clean: false });
  await subscribe(rig.client, 'devices/d/messages/devicebound/#', 1);
  rig.rig.hub.sendCommand('d', { system: { messageId: 'm' }, properties: {}, body: Buffer.from('x') });
  expect(await rig.client.next('publish')).toMatchObject({ dup: false, qos: 1 });
  rig.client[Symbol.dispose]();
  await until(() => !rig.rig.hub.isConnected('d'));
  using again = await rawMqtt(rig.rig.hub, 'd', { clean: false });
  const { messageId = 0, dup } = await again.next('publish');
  expect(dup).toBe(true);
  // Purged while it is on its way: the acknowledgement of nothing harms nobody.
  await rig.rig.rest('DELETE', '/devices/d/commands?api-version=2021-04-12');
  again.send({ cmd: 'puback', messageId });
  again.send({ cmd: 'pingreq' });
  await again.next('pingresp');
});

test('a client that reads nothing is cut before it fills the memory', async () => {
  await using rig = await open();
  await rig.client.next('connack');
  await subscribe(rig.client, '$iothub/twin/res/#');
  await rig.rig.registry.updateTwin(
    'd',
    {
      properties: {
        desired: Object.fromEntries(Array.from({ length: 7 }, (_, index) => [`k${index}`, 'x'.repeat(4000)])),
      },
    },
    '*',
  );
  rig.client.stopReading();
  // 30 KB an answer, 1,000 answers: more than may wait.
  for (let count = 0; count < 1000; count += 1)
    rig.client.send({ ...publish, qos: 0, topic: '$iothub/twin/GET/?$rid=1', payload: '' });
  expect(await until(() => !rig.rig.hub.isConnected('d'), { what: 'the end of the connection' })).toBe(true);
});

async function subscribe(client: RawMqtt, topic: string, qos: 0 | 1 = 0): Promise<void> {
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] });
  await client.next('suback');
}
