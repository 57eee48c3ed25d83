import type { Server as HttpServer } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import type { Certificates } from '../certificates.ts';
import type { AmqpGateway } from './amqp/gateway.ts';
import type { MqttGateway } from './mqtt/gateway.ts';

/** A client that says nothing after its TLS handshake is cut after this long. */
const firstByteTimeoutMs = 30_000;
/** Connections that may wait to be taken in while the hub is busy with others. */
const backlog = 4096;

/** Where the real hub has REST and WebSocket, MQTT, and AMQP; below 1024, so most users may not. */
export const standardPorts: readonly number[] = [443, 8883, 5671];

/** What a connection is given to once its first bytes say what it speaks. */
export interface Protocols {
  readonly mqtt: MqttGateway;
  readonly amqp: AmqpGateway;
  readonly http: HttpServer;
}

/** The hub's one TLS port. */
export interface Listener extends AsyncDisposable {
  readonly port: number;
}

/**
 * Listens on one TLS port for every protocol: the first byte after the handshake tells them apart (no client of the hub says it
 * in its handshake, by ALPN).
 * @throws {FerryError} PORT_IN_USE, PORT_UNUSABLE
 */
export async function listen(options: {
  readonly host: string;
  readonly port: number;
  readonly certificates: Certificates;
  readonly protocols: Protocols;
}): Promise<Listener> {
  const { certificates, protocols } = options;
  const sockets = new Set<tls.TLSSocket>();
  const server = tls.createServer({
    cert: certificates.certPem,
    key: certificates.keyPem,
    minVersion: 'TLSv1.2',
    // Devices may show a certificate of their own, which the hub and not TLS judges.
    requestCert: true,
    rejectUnauthorized: false,
  });
  server.on('secureConnection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    dispatch(socket, protocols);
  });
  // A handshake that failed; the client knows.
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  const port = await bind(server, options);
  return { port, [Symbol.asyncDispose]: async () => await close(server, sockets) };
}

/** Listens on a port without TLS. @throws {FerryError} PORT_IN_USE, PORT_UNUSABLE */
export async function listenPlain(options: {
  readonly host: string;
  readonly port: number;
  readonly accept: (socket: net.Socket) => void;
}): Promise<Listener> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => sockets.delete(socket));
    options.accept(socket);
  });
  const port = await bind(server, options);
  return { port, [Symbol.asyncDispose]: async () => await close(server, sockets) };
}

async function close(server: net.Server, sockets: ReadonlySet<net.Socket>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const socket of sockets) socket.destroy();
  await closed;
}

function dispatch(socket: tls.TLSSocket, protocols: Protocols): void {
  const patience = setTimeout(() => socket.destroy(), firstByteTimeoutMs);
  const cut = (): void => void socket.destroy();
  socket.on('error', cut);
  socket.once('close', () => clearTimeout(patience));
  socket.once('readable', () => {
    const first = socket.read() as Buffer | null;
    clearTimeout(patience);
    if (first === null) return cut();
    socket.unshift(first);
    // 0x10 is MQTT's CONNECT.
    if (first[0] === 0x10) protocols.mqtt.accept(socket, socket.getPeerX509Certificate()?.raw);
    else if (first.subarray(0, 4).toString('latin1') === 'AMQP') protocols.amqp.accept(socket);
    else protocols.http.emit('connection', socket);
    return undefined;
  });
}

/** Why the system does not let a program listen, by its code. */
const refusals: Readonly<Record<string, string>> = {
  EACCES: 'this user may not have it, one of 1024 or more (or root) was wanted',
  EADDRNOTAVAIL: 'this machine does not have the address, one of its own was wanted',
  ENOTFOUND: 'there is no such host, an address of this machine was wanted',
};

async function bind(
  server: net.Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host, port, backlog }, () => resolve());
  try {
    await promise;
  } catch (cause) {
    const code = systemCodeOf(cause);
    const doing = `Cannot start the IoT Hub simulator on port ${port} of "${host}"`;
    if (code === 'EADDRINUSE') {
      throw new FerryError('PORT_IN_USE', `${doing}: another program has it, a free one was wanted`, { cause });
    }
    const why = code === undefined ? undefined : refusals[code];
    if (why !== undefined) throw new FerryError('PORT_UNUSABLE', `${doing}: ${why}`, { cause });
    throw cause;
  }
  return (server.address() as AddressInfo).port;
}
