import { join, resolve } from 'node:path';
import { isMainThread, workerData } from 'node:worker_threads';
import { isFerryError, messageOf } from '../../shared/errors.ts';
import { createLogger, type Logger } from '../../shared/log.ts';
import type { commitThreadRole } from '../collect/run-commit-thread.ts';
import type { ServerGroup } from './server-group.ts';
import { listeningThreadRole, runListeningThread } from './listening-thread.ts';
import { workerRole } from './pool/worker-protocol.ts';
import { readSettings, type ScoringSettings } from './settings.ts';
import { LogLines } from './telemetry/log-lines.ts';
import { UploadThread, uploadThreadRole } from './upload-thread.ts';

/** Where the root of the image is, seen from `/opt/modelferry/server.mjs`; tests and the process engine say it themselves. */
const rootFromBundle = '../..';

const entry = new URL(import.meta.url);

/** What the program is told to be, where it shares requests out between versions of a service in place of scoring. */
const routerRole = 'route';

/** By its own name, so that only the thread itself loads SQLite. */
const commitRole: typeof commitThreadRole = 'commit';

/**
 * The scoring server. This module is the entry of every thread of it, since a bundle is one file: each finds what it is here.
 */
if (isMainThread && process.argv[2] === workerRole) await work();
else if (isMainThread && process.argv[2] === routerRole) await route();
else if (isMainThread) await serve();
else if (threadRole() === commitRole) await commit();
else if (threadRole() === listeningThreadRole) await listen();
else if (threadRole() === uploadThreadRole) await upload();

async function serve(): Promise<void> {
  const startMs = performance.now();
  const lines = new LogLines();
  const log = createLogger('scoring', { format: 'json', destination: lines });
  try {
    const settings = readSettings(imageRoot(), process.env);
    log.level = settings.logLevel;
    // Only the processes that score need ONNX Runtime; threads and this file start without it.
    const { ServerGroup } = await import('./server-group.ts');
    const group = await ServerGroup.start({ settings, log, lines, entry });
    const models = settings.config.models.map(({ name, version }) => `${name}:${version}`);
    const uploads = await startUpload(settings, log);
    const { service, host } = settings;
    log.info(
      {
        port: group.first.port,
        grpcPort: group.first.grpcPort,
        host,
        service,
        models,
        startMs: Math.round(performance.now() - startMs),
      },
      'ready',
    );
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        log.info({ signal }, 'stopping');
        void stop(group, uploads, log);
      });
    }
  } catch (error) {
    fail(error, log);
  }
}

/** Sends what is collected to storage, where that is this program's to do. */
async function startUpload(settings: ScoringSettings, log: Logger): Promise<UploadThread | undefined> {
  const { upload: access, collectInto, logLevel } = settings;
  if (access === undefined || collectInto === undefined) return undefined;
  const { bufferFileName } = await import('../collect/buffer-file.ts');
  return new UploadThread({ ...access, databasePath: join(collectInto, bufferFileName), logLevel, log, entry });
}

/** Writes to the collection buffer beside the main thread. */
async function commit(): Promise<void> {
  const { runCommitThread } = await import('../collect/run-commit-thread.ts');
  runCommitThread();
}

/** Sends beside the main thread. */
async function upload(): Promise<void> {
  const { runUploadThread } = await import('./run-upload-thread.ts');
  await runUploadThread();
}

/** Listens beside the main thread. */
async function listen(): Promise<void> {
  const lines = new LogLines();
  const log = createLogger('scoring', { format: 'json', destination: lines });
  const { ScoringServer } = await import('./server.ts');
  await runListeningThread(async (settings, gather) => {
    log.level = settings.logLevel;
    return await ScoringServer.start({ settings, log, lines, entry, gather });
  });
}

function threadRole(): string | undefined {
  return (workerData as { role?: string } | null)?.role;
}

/** Scores for a server that is another process; signals are the server's to handle, it ends this process by their pipe. */
async function work(): Promise<void> {
  const lines = new LogLines();
  const log = createLogger('scoring-worker', { format: 'json', destination: lines });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => {});
  try {
    const { runWorkerProcess } = await import('./pool/worker-process.ts');
    await runWorkerProcess({ log, lines, entry });
  } catch (error) {
    fail(error, log);
  }
}

/** Shares requests out between versions of a service. */
async function route(): Promise<void> {
  const log = createLogger('router', { format: 'json', destination: new LogLines() });
  try {
    const [{ readRouteSettings }, { VersionRouter }] = await Promise.all([
      import('./traffic/route-settings.ts'),
      import('./traffic/version-router.ts'),
    ]);
    const settings = readRouteSettings(process.env);
    const router = await VersionRouter.start(settings, log);
    const versions = settings.versions.map(({ name, percent, mirrorPercent }) => ({ name, percent, mirrorPercent }));
    log.info({ port: router.port, versions }, 'ready');
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        log.info({ signal }, 'stopping');
        void router[Symbol.asyncDispose]().then(() => process.exit(0));
      });
    }
  } catch (error) {
    fail(error, log);
  }
}

function imageRoot(): string {
  return process.env['MODELFERRY_ROOT'] ?? resolve(import.meta.dirname, rootFromBundle);
}

function fail(error: unknown, log: Logger): never {
  if (isFerryError(error)) log.fatal({ code: error.code, next: error.next }, messageOf(error));
  else log.fatal({ err: error }, 'could not start');
  // 3: Azure ML's server ends so where a model cannot be initialised.
  process.exit(3);
}

async function stop(group: ServerGroup, uploads: UploadThread | undefined, log: Logger): Promise<never> {
  const complete = await group.stop();
  // The last rows are in the buffer now.
  if ((await uploads?.stop()) === false) log.warn('collected rows that are not in storage stay in the buffer');
  log.info({ complete }, 'stopped');
  process.exit(complete ? 0 : 1);
}
