import { once } from 'node:events';
import { createServer as createPlainServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { FerryError, systemCodeOf } from '../../../../shared/errors.ts';
import { ClientConnection } from './client-connection.ts';
import { type QueueLimits, RequestQueue } from './request-queue.ts';
import type { Upstream } from './upstream.ts';

/** Connections of clients at most. */
const connectionsMax = 10_000;
const sweepMs = 1_000;

/** Where callers come in, and with which certificate. */
export interface Listening {
  readonly host: string;
  readonly port: number;
  readonly tls?: { readonly certificate: string; readonly key: string } | undefined;
}

/**
 * The one port of a service: hands each request to the replica that is at the fewest. It reads of a message only where it ends, and hands the
 * bytes on as they come: what a whole HTTP server would cost is more than most models take.
 *
 * Clients keep their connections while replicas come and go, so an update fails no request.
 */
export class Balancer implements AsyncDisposable {
  readonly #queue: RequestQueue;
  readonly #connections = new Set<ClientConnection>();
  readonly #sweep: NodeJS.Timeout;
  #server: Server | TlsServer | undefined;
  #listening: Listening | undefined;
  #exchangeTimeoutMs: number;
  /** Answers by their status. */
  readonly answers = new Map<number, number>();

  constructor({ limits, exchangeTimeoutMs }: { readonly limits: QueueLimits; readonly exchangeTimeoutMs: number }) {
    this.#queue = new RequestQueue(limits);
    this.#exchangeTimeoutMs = exchangeTimeoutMs;
    this.#sweep = setInterval(() => {
      const nowMs = performance.now();
      for (const connection of this.#connections) connection.sweep(nowMs);
    }, sweepMs);
  }

  /** Requests that replicas are at, and those that wait. */
  get load(): number {
    return this.#queue.load;
  }

  setLimits(limits: QueueLimits, exchangeTimeoutMs: number): void {
    this.#queue.limits = limits;
    this.#exchangeTimeoutMs = exchangeTimeoutMs;
    this.#queue.serve();
  }

  add(upstream: Upstream): void {
    this.#queue.add(upstream);
  }

  /** Gives a replica no new requests, and waits until it has answered those that it has. */
  async drain(upstream: Upstream): Promise<void> {
    this.#queue.remove(upstream);
    await upstream.drain();
  }

  /**
   * Listens there from now on; what has changed takes the place of what was, connections that there are stay.
   * @throws {FerryError} PORT_IN_USE or PORT_UNUSABLE
   */
  async listen(wanted: Listening): Promise<void> {
    const before = this.#listening;
    const isSamePlace = before?.host === wanted.host && before.port === wanted.port;
    const isSameKind = (before?.tls === undefined) === (wanted.tls === undefined);
    if (isSamePlace && isSameKind) {
      const { tls } = wanted;
      if (tls !== undefined) (this.#server as TlsServer).setSecureContext({ cert: tls.certificate, key: tls.key });
      this.#listening = wanted;
      return;
    }
    if (isSamePlace) await this.#close();
    const server = this.#create(wanted);
    await listenOn(server, wanted);
    if (!isSamePlace) await this.#close();
    this.#server = server;
    this.#listening = wanted;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweep);
    await this.#close();
    this.#queue[Symbol.dispose]();
  }

  #create({ tls }: Listening): Server | TlsServer {
    const accept = (socket: Socket): void => {
      const connection = new ClientConnection(socket, {
        queue: this.#queue,
        exchangeTimeoutMs: () => this.#exchangeTimeoutMs,
        onAnswer: (status) => this.answers.set(status, (this.answers.get(status) ?? 0) + 1),
      });
      this.#connections.add(connection);
      socket.on('close', () => this.#connections.delete(connection));
    };
    const options = { allowHalfOpen: true, noDelay: true };
    const server =
      tls === undefined
        ? createPlainServer(options, accept)
        : createTlsServer({ ...options, cert: tls.certificate, key: tls.key, minVersion: 'TLSv1.2' }, accept);
    server.maxConnections = connectionsMax;
    // A client that does not speak TLS is its own affair.
    server.on('tlsClientError', (_error, socket: Socket) => socket.destroy());
    return server;
  }

  async #close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    server.close();
    for (const connection of this.#connections) connection.end();
  }
}

async function listenOn(server: Server, { host, port }: Listening): Promise<void> {
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (cause) {
    const isTaken = systemCodeOf(cause) === 'EADDRINUSE';
    const found = isTaken ? 'another program listens there' : 'it cannot be listened on';
    throw new FerryError(isTaken ? 'PORT_IN_USE' : 'PORT_UNUSABLE', `Cannot serve on ${host}:${port}: ${found}`, {
      cause,
    });
  }
}
