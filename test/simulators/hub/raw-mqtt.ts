import { SharedAccessSignature } from 'azure-iot-common';
import { type IConnectPacket, type Packet, generate, parser as createParser } from 'mqtt-packet';
import tls from 'node:tls';
import type { Hub } from '../../../simulators/hub/hub.ts';
import { until } from '../../until.ts';

/** An MQTT client that does just what it is told. */
export interface RawMqtt extends Disposable {
  /** What came in, oldest first. */
  readonly packets: Packet[];
  readonly isClosed: () => boolean;
  send(packet: Packet): void;
  /** Takes the next packet of a kind out of what came in. */
  next<Kind extends Packet['cmd']>(kind: Kind): Promise<Extract<Packet, { readonly cmd: Kind }>>;
  closed(): Promise<unknown>;
  /** Leaves what comes from now on where it is. */
  stopReading(): void;
}

/** Connects as a device with a good token; the CONNECT can be changed. */
export async function rawMqtt(hub: Hub, deviceId: string, change: Partial<IConnectPacket> = {}): Promise<RawMqtt> {
  const password = tokenFor(hub, 3600, deviceId);
  const socket = tls.connect({ host: '127.0.0.1', port: hub.port, servername: 'localhost' });
  const packets: Packet[] = [];
  let closed = false;
  const parser = createParser();
  parser.on('packet', (packet: Packet) => void packets.push(packet));
  socket.on('data', (chunk: Buffer) => parser.parse(chunk));
  socket.on('error', () => undefined);
  socket.once('close', () => (closed = true));
  const username = `localhost/${deviceId}/?api-version=2021-04-12`;
  socket.write(
    generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clientId: deviceId,
      clean: true,
      keepalive: 60,
      username,
      password,
      ...change,
    }),
  );
  const client: RawMqtt = {
    packets,
    isClosed: () => closed,
    send: (packet) => void socket.write(generate(packet)),
    next: async (kind) =>
      await until(() => {
        const at = packets.findIndex(({ cmd }) => cmd === kind);
        return at === -1 ? undefined : (packets.splice(at, 1)[0] as never);
      }),
    closed: async () => await until(() => closed, { what: 'the end of the connection' }),
    stopReading: () => void socket.pause(),
    [Symbol.dispose]: () => socket.destroy(),
  };
  return client;
}

/** Makes a device's token that lasts so many seconds. */
export function tokenFor(hub: Hub, seconds: number, deviceId = 'device-1'): Buffer {
  const key = /SharedAccessKey=(.+)$/.exec(hub.deviceConnectionString(deviceId))?.[1] ?? '';
  const resource = encodeURIComponent(`localhost/devices/${deviceId}`);
  const expiry = Math.ceil(Date.now() / 1000) + seconds;
  return Buffer.from(SharedAccessSignature.create(resource, undefined as never, key, expiry).toString());
}
