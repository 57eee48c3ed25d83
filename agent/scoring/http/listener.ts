import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
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

/** How often it is looked whether the last request is answered. */
const drainPollMs = 10;

/** The HTTP side of a scoring server. */
export class Listener implements AsyncDisposable {
  readonly #server: Server;
  readonly #options: RouterOptions;
  #exchanges = 0;
  #draining = false;

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
   * Takes no more connections, answers what is in flight, and ends.
   * @returns whether all was answered in time
   */
  async drain(timeoutMs: number): Promise<boolean> {
    this.#draining = true;
    this.#server.close();
    const endMs = performance.now() + timeoutMs;
    while (this.#exchanges > 0 && performance.now() < endMs) await sleep(drainPollMs);
    const complete = this.#exchanges === 0;
    this.#server.closeIdleConnections();
    this.#server.closeAllConnections();
    return complete;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0);
  }

  #exchange(request: IncomingMessage, response: ServerResponse): void {
    const exchange = new Exchange(request, response);
    this.#exchanges += 1;
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
