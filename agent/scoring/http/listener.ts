import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { type AddressInfo, Server as NetServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { FerryError, systemCodeOf } from '../../../shared/errors.ts';
import type { RequestLimits } from '../settings.ts';
import { Exchange } from './exchange.ts';
import type { AnsweredRequest } from '../telemetry/request-observer.ts';
import { route, type RouterOptions } from './router.ts';
import { type TlsFiles, watchCertificates } from './tls-files.ts';

/** Where to listen. */
export interface ListenerAddress {
  readonly host: string;
  readonly port: number;
  /** Whether other threads listen there too. @default false */
  readonly sharesPort?: boolean;
  /** @default plain HTTP */
  readonly tls?: TlsFiles | undefined;
  readonly limits: RequestLimits;
}

/** A span has a name that people read. */
const pathLengthMax = 200;

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

/** How long new connections are taken where they do not end by themselves. */
const lastConnectionsMs = 1000;

/** How often it is looked whether the last request is answered. */
const drainPollMs = 10;

/** The HTTP side of a scoring server. */
export class Listener implements AsyncDisposable {
  readonly #server: Server | TlsServer;
  readonly #certificates: Disposable | undefined;
  readonly #options: RouterOptions;
  #exchanges = 0;
  #draining = false;
  #quietPolls = 0;

  private constructor(address: ListenerAddress, options: RouterOptions) {
    this.#options = options;
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => this.#exchange(request, response);
    const { tls } = address;
    const limits = connectionLimits(address.limits);
    if (tls === undefined) {
      this.#server = createServer(limits, onRequest);
      this.#certificates = undefined;
    } else {
      const certificates = watchCertificates(tls, {
        log: options.log,
        onChange: (renewed) => server.setSecureContext(renewed),
      });
      const clients = tls.clientCaFile !== undefined;
      const server = createTlsServer(
        { ...limits, ...certificates.value, requestCert: clients, rejectUnauthorized: clients },
        onRequest,
      );
      this.#server = server;
      this.#certificates = certificates;
    }
    this.#server.maxConnections = connectionsMax;
  }

  /**
   * Starts to listen.
   * @throws {FerryError} PORT_IN_USE
   */
  static async start(address: ListenerAddress, options: RouterOptions): Promise<Listener> {
    const listener = new Listener(address, options);
    try {
      listener.#server.listen({
        host: address.host,
        port: address.port,
        backlog: 1024,
        reusePort: address.sharesPort ?? false,
      });
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
    this.#certificates?.[Symbol.dispose]();
    this.#server.close();
    this.#server.closeAllConnections();
    return complete;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0);
  }

  #exchange(request: IncomingMessage, response: ServerResponse): void {
    const exchange = new Exchange(request, response);
    const { observer, bodies } = this.#options;
    this.#exchanges += 1;
    this.#quietPolls = 0;
    if (observer !== undefined) {
      const traceparent = request.headers['traceparent'];
      exchange.span = observer.begin({
        name: `${request.method} ${exchange.path.slice(0, pathLengthMax)}`,
        traceparent: typeof traceparent === 'string' ? traceparent : undefined,
      });
    }
    response.once('close', () => {
      this.#exchanges -= 1;
      bodies.budget.give(exchange.heldBytes);
      observer?.end(exchange.span, answeredOf(exchange));
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

function connectionLimits(limits: RequestLimits): ServerOptions {
  const { headersTimeoutMs, requestTimeoutMs, keepAliveTimeoutMs } = limits;
  return {
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    // Node looks for connections that are too slow once in a while: often enough that a limit is what it says.
    connectionsCheckingInterval: Math.min(headersTimeoutMs, requestTimeoutMs, slowLookMs),
    noDelay: true,
  };
}

function answeredOf(exchange: Exchange): AnsweredRequest {
  const { request, path, status, requestId, clientRequestId, startMs, model, scored } = exchange;
  const { method = 'GET' } = request;
  return { method, path, status, requestId, clientRequestId, totalMs: performance.now() - startMs, model, scored };
}
