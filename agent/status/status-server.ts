import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { FerryError, messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { AgentStatus } from './agent-status.ts';
import type { Figures } from './figures.ts';

/** The settings of {@link openStatusServer}. */
export interface StatusServerOptions {
  /** Socket file that the device's own administrator asks on; only the owner of the agent may open it. */
  readonly socketPath: string;
  /** Where health and metrics are served to other machines. @default nowhere */
  readonly metricsAddress?: { readonly host: string; readonly port: number };
  readonly read: () => Promise<AgentStatus>;
  readonly figures: Figures;
  readonly log: Logger;
}

/** Longest name of a socket file, in bytes (sockaddr_un, unix(7)). */
const socketPathBytesMax = 107;
/** How many connections there may be at a time. */
const connectionsMax = 16;
/** How long a request may take to come in, in milliseconds. */
const requestTimeoutMs = 5_000;

/**
 * Serves how the agent is: `/status` (JSON) on a socket file, `/health` and `/metrics` (Prometheus) on both. It says nothing that is secret, and
 * takes no orders.
 * @throws {FerryError} PORT_IN_USE when the port of the metrics is taken
 */
export async function openStatusServer(options: StatusServerOptions): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { socketPath, metricsAddress, log } = options;
  if (Buffer.byteLength(socketPath) > socketPathBytesMax) {
    log.warn(
      { socketPath, bytesMax: socketPathBytesMax },
      'cannot tell how the agent is: its folder has too long a name',
    );
  } else {
    const local = serve((asked, answer) => answerTo(asked, answer, { ...options, tellsAll: true }), log);
    stack.defer(() => end(local));
    await listenOnFile(local, socketPath);
  }
  if (metricsAddress !== undefined) {
    const remote = serve((asked, answer) => answerTo(asked, answer, { ...options, tellsAll: false }), log);
    stack.defer(() => end(remote));
    await listenOn(remote, metricsAddress);
  }
  const disposal = stack.move();
  return { [Symbol.asyncDispose]: async () => await disposal.disposeAsync() };
}

function serve(handle: (asked: IncomingMessage, answer: ServerResponse) => Promise<void>, log: Logger): Server {
  const listener: RequestListener = (asked, answer) => {
    handle(asked, answer).catch((error: unknown) => {
      log.warn({ why: messageOf(error) }, 'could not say how the agent is');
      if (!answer.headersSent) answer.writeHead(500);
      answer.end();
    });
  };
  const server = createServer({ requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs }, listener);
  server.maxConnections = connectionsMax;
  return server;
}

/** Listens on a socket file that only its owner may open. */
async function listenOnFile(server: Server, path: string): Promise<void> {
  // Left behind by an agent that was killed; the folder is locked, so nobody else listens on it.
  await rm(path, { force: true });
  const before = process.umask(0o177);
  try {
    server.listen(path);
    await once(server, 'listening');
  } finally {
    process.umask(before);
  }
}

async function listenOn(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (cause) {
    throw new FerryError('PORT_IN_USE', `Cannot serve metrics on ${host}:${port}: ${messageOf(cause)}`, { cause });
  }
}

async function answerTo(
  { url, method }: IncomingMessage,
  answer: ServerResponse,
  { read, figures, tellsAll }: StatusServerOptions & { readonly tellsAll: boolean },
): Promise<void> {
  if (method !== 'GET') return void answer.writeHead(405, { allow: 'GET' }).end();
  const status = await read();
  if (url === '/status' && tellsAll) {
    return void answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(status));
  }
  if (url === '/health') {
    const isWell = status.deployment.code === 200 || status.deployment.code === 417;
    return void answer.writeHead(isWell ? 200 : 503, { 'content-type': 'text/plain' }).end(healthText(status));
  }
  if (url === '/metrics') {
    const { agentMetrics } = await import('./agent-metrics.ts');
    const { contentType, text } = await agentMetrics(status, figures);
    return void answer.writeHead(200, { 'content-type': contentType }).end(text);
  }
  answer.writeHead(404).end();
}

function healthText({ deployment, connection }: AgentStatus): string {
  const link = connection.isUp ? 'connected' : 'not connected';
  return `${deployment.code} ${deployment.description}\nhub: ${link}\n`;
}

async function end(server: Server): Promise<void> {
  server.closeAllConnections();
  if (!server.listening) return;
  server.close();
  await once(server, 'close');
}
