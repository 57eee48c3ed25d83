import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../../shared/log.ts';
import { tlsServer } from '../http/tls-server.ts';
import { Mirror } from './mirror.ts';
import { RouteFigures } from './route-figures.ts';
import type { RouteSettings } from './route-settings.ts';
import { routeRequest } from './routed-exchange.ts';
import { Shares } from './shares.ts';
import { VersionUpstream } from './version-upstream.ts';

/** Azure ML's name for the header that chooses a version. */
const versionHeader = 'azureml-model-deployment';
/** Connections of clients at most. */
const connectionsMax = 4096;
/** How long a client may take to send its headers, in milliseconds, and how long a connection is kept without a request. */
const headersTimeoutMs = 10_000;
const keepAliveTimeoutMs = 245_000;
/** What the versions themselves may take is in `SCORING_TIMEOUT_MS`; their answer has to get here too, in milliseconds. */
const graceMs = 5_000;
const drainPollMs = 20;
/** How long no request has to have come before connections are closed, in milliseconds. */
const quietMs = 500;
/** How long new connections are still taken, in milliseconds: the kernel has made some that this process has not seen. */
const lastConnectionsMs = 1_000;
/** How long all of that may take beyond a request's own time, in milliseconds. */
const drainGraceMs = 5_000;

/** Answers for a service that has several versions: shares requests out between them, and copies some to others. */
export class VersionRouter implements AsyncDisposable {
  readonly #settings: RouteSettings;
  readonly #log: Logger;
  readonly #upstreams: readonly VersionUpstream[];
  readonly #shares: Shares<{ readonly upstream: VersionUpstream; readonly weight: number }>;
  readonly #figures = new RouteFigures();
  readonly #mirror: Mirror;
  readonly #http: Server;
  readonly #listening: TcpServer;
  readonly #certificates: Disposable | undefined;
  readonly #health: Server;
  #exchanges = 0;
  #lastRequestMs = 0;
  #isDraining = false;

  private constructor(settings: RouteSettings, log: Logger) {
    this.#settings = settings;
    this.#log = log;
    this.#upstreams = settings.versions.map(
      (version) => new VersionUpstream(version, { isTls: settings.tls !== undefined }),
    );
    this.#shares = new Shares(this.#upstreams.map((upstream) => ({ upstream, weight: upstream.version.percent })));
    this.#mirror = new Mirror(this.#figures, settings.timeoutMs + graceMs);
    this.#http = createServer({
      keepAliveTimeout: keepAliveTimeoutMs,
      headersTimeout: headersTimeoutMs,
      noDelay: true,
    });
    this.#http.on('request', (request, response) => void this.#route(request, response));
    this.#health = createServer((request, response) => void this.#answerHealth(request, response));
    if (settings.tls === undefined) {
      this.#listening = createTcpServer({ noDelay: true, allowHalfOpen: true });
      this.#listening.on('connection', (socket) => this.#http.emit('connection', socket));
    } else {
      const { server, certificates } = tlsServer(settings.tls, { handshakeTimeoutMs: headersTimeoutMs, log });
      this.#certificates = certificates;
      this.#listening = server;
      server.on('secureConnection', (socket) => this.#http.emit('connection', socket));
    }
    this.#listening.maxConnections = connectionsMax;
  }

  static async start(settings: RouteSettings, log: Logger): Promise<VersionRouter> {
    const router = new VersionRouter(settings, log);
    const { host, port, healthPort } = settings;
    router.#listening.listen({ host, port });
    router.#health.listen({ host, port: healthPort });
    await Promise.all([once(router.#listening, 'listening'), once(router.#health, 'listening')]);
    return router;
  }

  get port(): number {
    return (this.#listening.address() as AddressInfo).port;
  }

  get healthPort(): number {
    return (this.#health.address() as AddressInfo).port;
  }

  /**
   * Answers what is in flight, sends the copies that are on their way, and ends. A connection that is kept is not closed while its client may be
   * sending on it: every answer tells the client to come back on a new one, and what is quiet is closed at the end.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDraining = true;
    const startMs = performance.now();
    const endMs = startMs + this.#settings.timeoutMs + drainGraceMs;
    const isQuiet = (): boolean => this.#exchanges === 0 && performance.now() - this.#lastRequestMs > quietMs;
    while (performance.now() < endMs && !isQuiet()) {
      if (performance.now() - startMs > lastConnectionsMs) this.#listening.close();
      await sleep(drainPollMs);
    }
    this.#listening.close();
    await this.#mirror[Symbol.asyncDispose]();
    this.#http.closeAllConnections();
    this.#certificates?.[Symbol.dispose]();
    this.#health.close();
    this.#health.closeAllConnections();
    for (const upstream of this.#upstreams) upstream[Symbol.dispose]();
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#exchanges += 1;
    this.#lastRequestMs = performance.now();
    if (this.#isDraining) response.setHeader('connection', 'close');
    try {
      const chosen = this.#choose(request);
      if (chosen === undefined) {
        request.resume();
        const names = this.#upstreams.map(({ name }) => `"${name}"`).join(', ');
        const asked = String(request.headers[versionHeader]);
        const message = `Cannot score: there is no version "${asked}", one of ${names} was wanted`;
        response.writeHead(404, { 'content-type': 'application/json' }).end(JSON.stringify({ message }));
        return;
      }
      const [own] = this.#upstreams;
      // One that was asked for by name is the only one that may answer; a connection that had just ended is tried again.
      const isNamed = request.headers[versionHeader] !== undefined;
      const others = isNamed || own === undefined || own === chosen ? [chosen] : [own];
      const copies = this.#upstreams.filter((upstream) => upstream !== chosen && upstream.takesCopy());
      await routeRequest({
        request,
        response,
        versions: [chosen, ...others],
        copies,
        timeoutMs: this.#settings.timeoutMs + graceMs,
        figures: this.#figures,
        send: this.#mirror.send,
      });
    } catch (error) {
      this.#log.error({ err: error }, 'could not route a request');
      response.destroy();
    } finally {
      this.#exchanges -= 1;
    }
  }

  #choose(request: IncomingMessage): VersionUpstream | undefined {
    const asked = request.headers[versionHeader];
    if (asked === undefined) return this.#shares.next()?.upstream;
    return this.#upstreams.find(({ name }) => name === asked);
  }

  async #answerHealth({ url }: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (url ?? '').split('?')[0];
    if (path === '/metrics') {
      const text = await this.#figures.text();
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(text);
    } else if (path === '/v2/health/live' || path === '/v2/health/ready' || path === '/') {
      const isGood = path === '/v2/health/live' || !this.#isDraining;
      response.writeHead(isGood ? 200 : 503, { 'content-type': 'text/plain' }).end(isGood ? 'Healthy' : 'Ending');
    } else response.writeHead(404).end();
  }
}
