import tls from 'node:tls';
import rhea, { type Connection, type EventContext } from 'rhea';
import { expect, test } from 'vitest';
import { systemClock } from '../../../shared/clock.ts';
import { openHubRig } from '../../conformance/hub-rig.ts';
import { until } from '../../until.ts';

test('a connection over AMQP ends with its token', async () => {
  let skewMs = 0;
  await using rig = await openHubRig({ clock: { ...systemClock, nowMs: () => Date.now() + skewMs } });
  using client = connect(rig.hub.port);
  expect(await client.putToken(rig.sign('service'))).toBe(200);
  skewMs = 2 * 3_600_000;
  await until(() => client.closedBecause() === 'amqp:unauthorized-access');
  expect(client.closedBecause()).toBe('amqp:unauthorized-access');
});

test('a wrong token is answered with 401, and a link without one is refused', async () => {
  await using rig = await openHubRig();
  using client = connect(rig.hub.port);
  expect(await client.putToken('SharedAccessSignature sr=x&sig=y&se=1')).toBe(401);
  expect(await client.openSender('/messages/devicebound')).toBe('amqp:unauthorized-access');
  expect(await client.putToken(rig.sign('service'))).toBe(200);
  expect(await client.openSender('/nowhere')).toBe('amqp:not-found');
});

test.each([
  ['a frame of 1 GB', [0x40, 0, 0, 0, 2, 0, 0, 0]],
  ['a frame of no length', [0, 0, 0, 0, 2, 0, 0, 0]],
  ['a list of 4 billion items', [0, 0, 0, 20, 2, 0, 0, 0, 0, 0x53, 0x10, 0xd0, 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff]],
  [
    'an array of 4 billion nulls',
    [0, 0, 0, 22, 2, 0, 0, 0, 0, 0x53, 0x10, 0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40, 0],
  ],
])('%s ends its connection, before there is room made for it', async (_what, frame) => {
  await using rig = await openHubRig();
  const before = process.memoryUsage.rss();
  const socket = tls.connect({ host: '127.0.0.1', port: rig.hub.port, servername: 'localhost' });
  socket.on('error', () => undefined);
  socket.resume();
  socket.write(Buffer.concat([Buffer.from('AMQP\u0000\u0001\u0000\u0000', 'latin1'), Buffer.from(frame)]));
  await until(() => socket.closed, { what: 'the end of the connection' });
  expect(process.memoryUsage.rss() - before).toBeLessThan(100 * 1024 * 1024);
  using client = connect(rig.hub.port);
  expect(await client.putToken(rig.sign('service'))).toBe(200);
});

test('a message in many transfers ends its connection when it grows too large, though nobody has signed in', async () => {
  await using rig = await openHubRig();
  using stranger = connect(rig.hub.port);
  expect(await stranger.putToken('x'.repeat(200 * 1024))).toBe(401);
  stranger.beginToken('x'.repeat(5 * 1024 * 1024));
  await until(() => stranger.isGone(), { what: 'the end of the connection' });
  using client = connect(rig.hub.port);
  expect(await client.putToken(rig.sign('service'))).toBe(200);
});

function connect(port: number) {
  const container = rhea.create_container();
  const connection: Connection = container.connect({ transport: 'tls', host: 'localhost', port, reconnect: false });
  const statuses: number[] = [];
  let condition: string | undefined;
  // Refused links are what is tested; without a listener each would be printed.
  connection.on('sender_error', () => undefined);
  connection.on('connection_error', () => undefined);
  let isGone = false;
  connection.on('disconnected', () => void (isGone = true));
  connection.on('connection_close', ({ connection: { error } }: EventContext) => (condition = conditionOf(error)));
  connection.on(
    'message',
    ({ message }: EventContext) => void statuses.push(Number(message?.application_properties?.['status-code'])),
  );
  connection.open_receiver('$cbs');
  const cbs = connection.open_sender('$cbs');
  const beginToken = (token: string): void => {
    cbs.send({
      message_id: String(statuses.length),
      application_properties: { operation: 'put-token', type: 'servicebus.windows.net:sastoken', name: 'x' },
      body: token,
    });
  };
  return {
    closedBecause: () => condition,
    isGone: () => isGone,
    beginToken,
    putToken: async (token: string) => {
      const before = statuses.length;
      await until(() => cbs.sendable());
      beginToken(token);
      await until(() => statuses.length > before);
      return statuses.at(-1);
    },
    openSender: async (address: string) => {
      const sender = connection.open_sender(address);
      await until(() => sender.error);
      return conditionOf(sender.error);
    },
    [Symbol.dispose]: () => connection.close(),
  };
}

function conditionOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'condition' in error ? String(error.condition) : undefined;
}
