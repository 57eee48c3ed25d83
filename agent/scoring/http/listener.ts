import { once } from 'node:events';
import { type AddressInfo, createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { FerryError, systemCodeOf } from '../../../shared/errors.ts';
import type { RequestLimits } from '../settings.ts';
import { Connection } from './connection.ts';
import type { Exchange } from './exchange.ts';
import type { AnsweredRequest } from '../telemetry/request-observer.ts';
import { route, type RouterOptions } from './router.ts';
import type { TlsFiles } from './tls-files.ts';

/** Where to listen. */
export type ListenerAddress = ListenerSettings & (PortAddress | SocketAddress);

interface PortAddress {
  readonly host: string;
  readonly port: number;
  /** Whether other threads listen there too. @default false */
  readonly sharesPort?: boolean;
  readonly fd?: undefined;
}

/** A socket that is bound already, at which other processes accept connections too. */
interface SocketAddress {
  readonly fd: number;
}

interface ListenerSettings {
  /** @default plain HTTP */
  readonly tls?: TlsFiles | undefined;
  readonly limits: RequestLimits;
}

/**
 * After so long a connection that came by a shared socket ends with the next answer, and its client's next one goes to whoever has time for it:
 * who was awake first accepts all that come at once, and those would else stay there.
 */
const sharedConnectionMs = 250;

/** A span has a name that people read. */
const pathLengthMax = 200;

/** Connections that the kernel has made and nobody has accepted yet. */
const backlog = 1024;

/** How often, at most, slow connections are looked for. */
const slowLookMs = 1000;

/** One connection more is closed at once. */
const connectionsMax = 4096;

/** Requests that are read or answered at the same time, each of which may hold a body. */
const exchangesMax = 2048;

/**
 * After so many looks at which there was no request, nothing more is on its way. Looks, not time: while the thread is busy,
 * requests wait unseen.
 */
const quietPollsMin = 10;

/** At how many looks new connections are still taken where they do not end by themselves: a second, where the thread is not busy. */
const lastConnectionsPolls = 100;

/** How often it is looked whether the last request is answered. */
const drainPollMs = 10;

/** The HTTP side of a scoring server. */
export class Listener implements AsyncDisposable {
  readonly #server: Server;
  readonly #certificates: Disposable | undefined;
  readonly #options: RouterOptions;
  readonly #connections = new Set<Connection>();
  readonly #slowTimer: NodeJS.Timeout;
  /** Whether others accept connections at the same socket. */
  readonly #isShared: boolean;
  #exchanges = 0;
  #isDraining = false;
  #quietPolls = 0;

  private constructor({ limits, fd }: ListenerAddress, options: RouterOptions, transport: Transport) {
    this.#isShared = fd !== undefined;
    this.#options = options;
    this.#server = transport.server;
    this.#certificates = transport.certificates;
    this.#server.maxConnections = connectionsMax;
    this.#server.on(transport.connected, (socket: Socket) => this.#connect(socket, limits));
    const { headersTimeoutMs, requestTimeoutMs, keepAliveTimeoutMs } = limits;
    // Often enough that a limit is what it says.
    const lookMs = Math.min(headersTimeoutMs, requestTimeoutMs, keepAliveTimeoutMs, slowLookMs);
    this.#slowTimer = setInterval(() => this.#expire(), lookMs).unref();
  }

  /**
   * Starts to listen.
   * @throws {FerryError} PORT_IN_USE
   */
  static async start(address: ListenerAddress, options: RouterOptions): Promise<Listener> {
    const listener = new Listener(address, options, await transportOf(address, options));
    try {
      listener.#server.listen({ backlog, ...placeOf(address) });
      await once(listener.#server, 'listening');
    } catch (cause) {
      if (systemCodeOf(cause) !== 'EADDRINUSE' || address.fd !== undefined) throw cause;
      throw new FerryError('PORT_IN_USE', `Cannot listen on ${address.host}:${address.port}: another program does`, {
        cause,
      });
    }
    return listener;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Requests that are read or answered now. */
  get exchanges(): number {
    return this.#exchanges;
  }

  /**
   * Answers what is in flight, and ends. The kernel has made connections, requests and all, that this process has not seen
   * yet: it ends when no request has come for a moment, and every answer tells its client to come back on a new connection.
   * @returns whether all was answered in time
   */
  async drain(timeoutMs: number): Promise<boolean> {
    this.#isDraining = true;
    const endMs = performance.now() + timeoutMs;
    for (let polls = 0; performance.now() < endMs && this.#quietPolls < quietPollsMin; polls += 1) {
      // Where others accept too, nothing waits for this one.
      if (polls === (this.#isShared ? 0 : lastConnectionsPolls)) this.#server.close();
      await sleep(drainPollMs);
      this.#quietPolls = this.#exchanges === 0 ? this.#quietPolls + 1 : 0;
    }
    const complete = this.#exchanges === 0;
    this.#certificates?.[Symbol.dispose]();
    this.#server.close();
    clearInterval(this.#slowTimer);
    for (const connection of this.#connections) connection.destroy();
    return complete;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0);
  }

  #connect(socket: Socket, limits: RequestLimits): void {
    const endsMs = this.#isShared ? performance.now() + sharedConnectionMs : undefined;
    const connection = new Connection(socket, {
      limits,
      isLast: () => this.#isDraining || (endsMs !== undefined && performance.now() > endsMs),
      events: {
        onRequest: (exchange) => this.#begin(exchange),
        onEnd: (exchange) => this.#end(exchange),
        onClose: () => this.#connections.delete(connection),
      },
    });
    this.#connections.add(connection);
  }

  #begin(exchange: Exchange): void {
    const { observer } = this.#options;
    this.#exchanges += 1;
    this.#quietPolls = 0;
    if (observer !== undefined) {
      const { method, headers } = exchange.request;
      exchange.span = observer.begin({
        name: `${method} ${exchange.path.slice(0, pathLengthMax)}`,
        traceparent: headers.get('traceparent'),
      });
    }
    if (this.#exchanges > exchangesMax) {
      exchange.json(503, { message: `Too many requests at once: at most ${exchangesMax}` }, ['retry-after', '1']);
      return;
    }
    try {
      route(exchange, this.#options)?.catch((error: unknown) => this.#fail(exchange, error));
    } catch (error) {
      this.#fail(exchange, error);
    }
  }

  /** Whatever went wrong here is this server's fault, and no reason to end it. */
  #fail(exchange: Exchange, error: unknown): void {
    this.#options.log.error({ err: error, requestId: exchange.requestId }, 'could not answer');
    exchange.json(500, { message: 'An unexpected internal error occurred. Check the logs for more info.' });
  }

  #end(exchange: Exchange): void {
    const { observer, bodies } = this.#options;
    this.#exchanges -= 1;
    bodies.budget.give(exchange.heldBytes);
    // What failed or was left may still be on its way to a worker.
    if (exchange.status === 200 && exchange.room !== undefined) bodies.rooms.give(exchange.room);
    observer?.end(exchange.span, answeredOf(exchange));
  }

  #expire(): void {
    const nowMs = performance.now();
    for (const connection of this.#connections) connection.expire(nowMs);
  }
}

function placeOf(address: ListenerAddress): ListenOptions | { readonly fd: number } {
  if (address.fd !== undefined) return { fd: address.fd };
  return { host: address.host, port: address.port, reusePort: address.sharesPort ?? false };
}

/** What connections come over. */
interface Transport {
  readonly server: Server;
  /** The event of a connection that is ready for HTTP. */
  readonly connected: 'connection' | 'secureConnection';
  readonly certificates: Disposable | undefined;
}

/** Makes the server; what TLS needs is loaded where TLS is on. */
async function transportOf({ tls, limits }: ListenerAddress, { log }: RouterOptions): Promise<Transport> {
  if (tls === undefined) {
    return { server: createServer({ noDelay: true }), connected: 'connection', certificates: undefined };
  }
  const { tlsServer } = await import('./tls-server.ts');
  return { ...tlsServer(tls, { handshakeTimeoutMs: limits.headersTimeoutMs, log }), connected: 'secureConnection' };
}

function answeredOf(exchange: Exchange): AnsweredRequest {
  const { request, path, status, requestId, clientRequestId, startMs, model, scored } = exchange;
  const { method } = request;
  return { method, path, status, requestId, clientRequestId, totalMs: performance.now() - startMs, model, scored };
}
