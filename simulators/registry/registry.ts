import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { FerryError, isFerryError, systemCodeOf } from '../../shared/errors.ts';
import { FileLock } from '../../shared/file-lock.ts';
import type { Logger } from '../../shared/log.ts';
import { type Answer, answerWith } from './answers.ts';
import { Exchange } from './exchange.ts';
import { Layout } from './layout.ts';
import { isDiskFull, Refusal } from './refusal.ts';
import { Repositories } from './repositories.ts';
import { Uploads } from './uploads.ts';

/** The settings of {@link startRegistry}. */
export interface RegistryOptions {
  /** Folder of the OCI image layout that is served; made where there is none. Others may write to it meanwhile. */
  readonly layoutDir: string;
  /** 0 takes any free one. */
  readonly port: number;
  /** Address to listen on. @default '127.0.0.1' */
  readonly host?: string;
  readonly log: Logger;
  /** @default the machine's */
  readonly clock?: Clock;
}

/** A registry that runs. */
export interface Registry extends AsyncDisposable {
  /** What stands before the repository in an image's name: `localhost:5000`. */
  readonly host: string;
  readonly port: number;
  /**
   * Removes blobs that no manifest refers to and that have not been touched for a while; it happens by itself every hour.
   * Gives how many. @param options.graceMs @default one hour
   */
  collectGarbage(options?: { readonly graceMs?: number }): Promise<number>;
  /** Ends it; requests that are under way are cut off. */
  close(): Promise<void>;
}

/** How much of a body is held for its reader before its sender has to wait; at 64 KiB it would wait for every piece. */
const bodyBytesMax = 1024 * 1024;
/** A connection on which nothing moves is ended after so long. */
const idleMsMax = 60_000;
/** How often blobs that nobody needs are looked for, and how long one is left for a manifest that is still to come. */
const garbageIntervalMs = 60 * 60 * 1000;
const garbageGraceMs = 60 * 60 * 1000;
/** How long to wait for another registry to let go of the layout, for a restart. */
const takeOverMsMax = 2000;

/**
 * Starts an OCI registry (distribution-spec 1.1, plain HTTP) over an OCI image layout on disk. One registry serves a layout at
 * a time; other programs may write to the layout meanwhile, and what they add is served at once.
 * @throws {FerryError} PORT_IN_USE when the port is taken
 * @throws {FerryError} IN_USE when another registry serves the layout
 */
export async function startRegistry(options: RegistryOptions): Promise<Registry> {
  const { layoutDir, port, host = '127.0.0.1', log, clock = systemClock } = options;
  const aside = join(layoutDir, '.registry');
  await mkdir(aside, { recursive: true });
  const release = await holdAlone(layoutDir, join(aside, 'lock'));
  try {
    const layout = new Layout(layoutDir);
    await layout.create();
    const uploads = new Uploads(layout, join(aside, 'uploads'), clock);
    await uploads.create();
    const repositories = new Repositories(layout, join(aside, 'links'));
    const answer = answerWith(layout, repositories, uploads);
    const server = createServer(
      { highWaterMark: bodyBytesMax },
      (request, response) => void serve(request, response, { answer, log }),
    );
    // A layer of many gigabytes takes its time; a connection on which nothing moves does not get any.
    server.requestTimeout = 0;
    server.setTimeout(idleMsMax);
    await listen(server, port, host);
    const bound = (server.address() as AddressInfo).port;
    log.info({ host, port: bound, layout: layoutDir }, 'registry listens');
    const collectGarbage = async ({ graceMs = garbageGraceMs } = {}): Promise<number> =>
      layout.removeBlobs((named) => repositories.reached(named), clock.nowMs() - graceMs);
    const collecting = setInterval(() => {
      collectGarbage().then(
        (blobs) => log.info({ blobs }, 'garbage collected'),
        (error: unknown) => log.error({ err: error }, 'garbage not collected'),
      );
    }, garbageIntervalMs);
    collecting.unref();
    const close = async (): Promise<void> => {
      clearInterval(collecting);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await uploads[Symbol.asyncDispose]();
      await release();
    };
    return { host: `localhost:${bound}`, port: bound, collectGarbage, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await release();
    throw error;
  }
}

/** Holds the layout against other registries until the function that comes back is called, or the process ends. */
async function holdAlone(layoutDir: string, lockPath: string): Promise<() => Promise<void>> {
  const { promise: held, resolve: isHeld } = Promise.withResolvers<void>();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const holding = new FileLock(lockPath).run(
    () => {
      isHeld();
      return released;
    },
    { timeoutMs: takeOverMsMax },
  );
  try {
    await Promise.race([held, holding]);
  } catch (cause) {
    if (!isFerryError(cause, 'TIMEOUT')) throw cause;
    const message = `Cannot serve the image layout "${layoutDir}": another registry serves it, one at a time was wanted`;
    throw new FerryError('IN_USE', message, { cause });
  }
  return async () => {
    release();
    await holding;
  };
}

async function listen(server: Server, port: number, host: string): Promise<void> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (cause) {
    if (systemCodeOf(cause) !== 'EADDRINUSE') throw cause;
    throw new FerryError(
      'PORT_IN_USE',
      `Cannot listen on ${host}:${port}: something else does, a free port was wanted`,
      { cause },
    );
  }
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  { answer, log }: { readonly answer: Answer; readonly log: Logger },
): Promise<void> {
  const startMs = performance.now();
  response.on('close', () => {
    const tookMs = Math.round(performance.now() - startMs);
    log.debug({ method: request.method, url: request.url, status: response.statusCode, tookMs }, 'request');
  });
  let exchange: Exchange | undefined;
  try {
    exchange = new Exchange(request, response);
    await answer(exchange);
  } catch (error) {
    const refusal = refusalOf(error);
    // A client that has gone cannot be told; everything else that is not its own fault is worth a line.
    if (refusal === undefined && !request.destroyed) log.error({ err: error, url: request.url }, 'request failed');
    if (exchange === undefined) response.destroy();
    else exchange.refuse(refusal ?? new Refusal('UNSUPPORTED', 'the registry failed', { status: 500 }));
  }
}

function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof Refusal) return error;
  if (!isDiskFull(error)) return undefined;
  return new Refusal('BLOB_UPLOAD_INVALID', 'no space is left on the disk of the registry', { status: 507 });
}
