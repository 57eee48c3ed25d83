import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import rhea, { type EventContext } from 'rhea';
import { expect, test } from 'vitest';
import { type HubRig, openHubRig } from '../../conformance/hub-rig.ts';
import { Random } from '../../random.ts';
import { until } from '../../until.ts';
import { mutate } from './fuzz-inputs.ts';

const streams = 1000;
const seed = Number(process.env['FUZZ_SEED'] ?? 20_261_122);

test(
  `${streams} damaged AMQP sessions of seed ${seed} leave the hub serving and its state intact`,
  { timeout: 120_000 },
  async () => {
    await using rig = await openHubRig({ plainAmqpPort: 0 });
    await rig.registry.create({ deviceId: 'kept' });
    await rig.registry.updateTwin('kept', { tags: { site: 'a' } }, '*');
    const before = (await rig.registry.getTwin('kept')).responseBody;
    const port = Number(new URL(rig.hub.eventHubConnectionString.slice('Endpoint='.length).split(';')[0] ?? '').port);
    const session = await record(rig, port);
    expect(await waiting(rig)).toBe(1);
    const random = new Random(seed);
    const worker = async (): Promise<void> => {
      for (let count = 0; count < streams / 4; count += 1) {
        let bytes = session;
        for (let changes = 1 + random.below(3); changes > 0; changes -= 1) bytes = mutate(random, bytes);
        await replay(port, bytes);
      }
    };
    await Promise.all(Array.from({ length: 4 }, worker));
    expect((await rig.registry.getTwin('kept')).responseBody).toMatchObject({ tags: before.tags, etag: before.etag });
    // Sessions that were damaged late have sent their message.
    expect(await waiting(rig)).toBeGreaterThan(10);
    await rig.rest('DELETE', '/devices/kept/commands?api-version=2021-04-12');
    await record(rig, port);
    expect(await waiting(rig)).toBe(1);
  },
);

/** Sends a message to a device as a back end does, and gives all the bytes that it took. */
async function record(rig: HubRig, port: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const connect = (_port: number, _host: string, _options: unknown, connected: () => void): net.Socket => {
    const socket = net.connect({ host: '127.0.0.1', port }, connected);
    const write = socket.write.bind(socket);
    socket.write = (chunk: Uint8Array | string, ...rest: never[]) => {
      chunks.push(Buffer.from(chunk));
      return write(chunk, ...rest);
    };
    return socket;
  };
  const connection = rhea.create_container().connect({
    reconnect: false,
    connection_details: () => ({ host: 'localhost', port, connect }),
  });
  const cbs = connection.open_sender('$cbs');
  connection.open_receiver('$cbs');
  await until(() => cbs.sendable());
  cbs.send({
    message_id: '1',
    application_properties: { operation: 'put-token', type: 'servicebus.windows.net:sastoken', name: 'x' },
    body: rig.sign('service'),
  });
  await once(connection, 'message');
  const sender = connection.open_sender('/messages/devicebound');
  await until(() => sender.sendable());
  sender.send({
    to: '/devices/kept/messages/devicebound',
    message_id: 'm',
    body: rhea.message.data_section(Buffer.from('x')),
  });
  await new Promise<void>((resolve) => sender.once('accepted', (_context: EventContext) => resolve()));
  connection.close();
  await once(connection, 'connection_close');
  return Buffer.concat(chunks);
}

/** Sends bytes and waits until the hub has had enough of them, or has said nothing more for a while. */
async function replay(port: number, bytes: Buffer): Promise<void> {
  const socket = net.connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  socket.resume();
  const closed = once(socket, 'close').catch(() => undefined);
  socket.end(bytes);
  await Promise.race([closed, sleep(2000, undefined, { ref: false })]);
  socket.destroy();
}

async function waiting(rig: HubRig): Promise<number> {
  const { body } = await rig.rest('GET', '/devices/kept?api-version=2021-04-12');
  return Number(body.cloudToDeviceMessageCount);
}
