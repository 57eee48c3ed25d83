import { createServer as createPlainServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { ClientConnection } from './client-connection.ts';
import { listenOn } from './listen-on.ts';
import { type QueueLimits, RequestQueue } from './request-queue.ts';
import type { PortSettings, ServicePort } from './service-port.ts';
import type { Upstream } from './upstream.ts';

/** Connections of clients at most. */
const connectionsMax = 10_000;
const sweepMs = 1_000;

/** Beyond the scoring server's own timeout, which answers better than we can. */
const exchangeGraceMs = 30_000;

type Listening = Pick<PortSettings, 'host' | 'port' | 'tls'>;

/**
 * The one port of a service: hands each request to the replica that is at the fewest. It reads of a message only where it ends, and hands the
 * bytes on as they come: what a whole HTTP server would cost is more than most models take.
 *
 * Clients keep their connections while replicas come and go, so an update fails no request.
 */
export class Balancer implements ServicePort {
  readonly #queue: RequestQueue;
  readonly #connections = new Set<ClientConnection>();
  readonly #sweep: NodeJS.Timeout;
  #server: Server | TlsServer | undefined;
  #listening: Listening | undefined;
  #exchangeTimeoutMs: number;
  readonly answers = new Map<number, number>();
  readonly socket = undefined;

  constructor(wanted: PortSettings) {
    this.#queue = new RequestQueue(limitsOf(wanted));
    this.#exchangeTimeoutMs = exchangeTimeoutMsOf(wanted);
    this.#sweep = setInterval(() => {
      const nowMs = performance.now();
      for (const connection of this.#connections) connection.sweep(nowMs);
    }, sweepMs);
  }

  get load(): number {
    return this.#queue.load;
  }

  add(upstream: Upstream): void {
    this.#queue.add(upstream);
  }

  async drain(upstream: Upstream): Promise<void> {
    this.#queue.remove(upstream);
    await upstream.drain();
  }

  /** Connections that there are stay. */
  async become(wanted: PortSettings): Promise<void> {
    this.#queue.limits = limitsOf(wanted);
    this.#exchangeTimeoutMs = exchangeTimeoutMsOf(wanted);
    this.#queue.serve();
    await this.#listen(wanted);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweep);
    await this.#close();
    this.#queue[Symbol.dispose]();
  }

  async #listen(wanted: Listening): Promise<void> {
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

function limitsOf({ concurrentMax, queueWaitMs }: PortSettings): QueueLimits {
  return { concurrentMax, waitMs: queueWaitMs };
}

function exchangeTimeoutMsOf({ scoringTimeoutMs, queueWaitMs }: PortSettings): number {
  return scoringTimeoutMs + queueWaitMs + exchangeGraceMs;
}
