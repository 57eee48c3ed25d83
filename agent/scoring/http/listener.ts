import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, Server as NetServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { FerryError, systemCodeOf } from '../../../shared/errors.ts';
import { Exchange } from './exchange.ts';
import { route, type RouterOptions } from './router.ts';

/** Where to listen. */
export interface ListenerAddress {
  readonly host: string;
  readonly port: number;
}

/** How long a client may take to send its headers, and all of its request: slow ones hold a connection, never more. */
const headersTimeoutMs = 10_000;
const requestTimeoutMs = 60_000;

/** Load balancers reuse a connection for a minute (Azure's four); it must not be closed under a request. */
const keepAliveTimeoutMs = 245_000;

/** One connection more is closed at once. */
const connectionsMax = 4096;

/** Requests that are read or answered at the same time, each of which may hold a body. */
const exchangesMax = 2048;

/**
 * After so many looks at which there was no request, nothing more is on its way. Looks, not time: while the thread is busy,
 * requests wait unseen.
 */
const quietPollsMin = 10;

/** How long new connections are taken where they do not end by themselves. */
const lastConnectionsMs = 1000;

/** How often it is looked whether the last request is answered. */
const drainPollMs = 10;

/** The HTTP side of a scoring server. */
export class Listener implements AsyncDisposable {
  readonly #server: Server;
  readonly #options: RouterOptions;
  #exchanges = 0;
  #draining = false;
  #quietPolls = 0;

  private constructor(options: RouterOptions) {
    this.#options = options;
    this.#server = createServer(
      {
        headersTimeout: headersTimeoutMs,
        requestTimeout: requestTimeoutMs,
        keepAliveTimeout: keepAliveTimeoutMs,
        noDelay: true,
      },
      (request, response) => this.#exchange(request, response),
    );
    this.#server.maxConnections = connectionsMax;
  }

  /**
   * Starts to listen.
   * @throws {FerryError} PORT_IN_USE
   */
  static async start(address: ListenerAddress, options: RouterOptions): Promise<Listener> {
    const listener = new Listener(options);
    try {
      listener.#server.listen({ host: address.host, port: address.port, backlog: 1024 });
      await once(listener.#server, 'listening');
    } catch (cause) {
      if (systemCodeOf(cause) !== 'EADDRINUSE') throw cause;
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
    this.#draining = true;
    const startMs = performance.now();
    const endMs = startMs + timeoutMs;
    while (performance.now() < endMs && this.#quietPolls < quietPollsMin) {
      // Of net, not of http: that would cut connections whose request is on its way.
      if (performance.now() > startMs + lastConnectionsMs) NetServer.prototype.close.call(this.#server);
      await sleep(drainPollMs);
      this.#quietPolls = this.#exchanges === 0 ? this.#quietPolls + 1 : 0;
    }
    const complete = this.#exchanges === 0;
    this.#server.close();
    this.#server.closeAllConnections();
    return complete;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0);
  }

  #exchange(request: IncomingMessage, response: ServerResponse): void {
    const exchange = new Exchange(request, response);
    this.#exchanges += 1;
    this.#quietPolls = 0;
    response.once('close', () => {
      this.#exchanges -= 1;
    });
    if (this.#draining) exchange.closeAfter();
    if (this.#exchanges > exchangesMax) {
      exchange.json(503, { message: `Too many requests at once: at most ${exchangesMax}` }, ['retry-after', '1']);
      return;
    }
    route(exchange, this.#options).catch((error: unknown) => {
      // Whatever went wrong here is this server's fault, and no reason to end it.
      this.#options.log.error({ err: error, requestId: exchange.requestId }, 'could not answer');
      exchange.json(500, { message: 'An unexpected internal error occurred. Check the logs for more info.' });
    });
  }
}
