import { resolve } from 'node:path';
import { isMainThread, workerData } from 'node:worker_threads';
import { isFerryError, messageOf } from '../../shared/errors.ts';
import { createLogger, type Logger } from '../../shared/log.ts';
import { commitThreadRole, runCommitThread } from '../collect/commit-thread.ts';
import type { ScoringServer } from './server.ts';
import { readSettings } from './settings.ts';

/** Where the root of the image is, seen from `/opt/modelferry/server.mjs`; tests and the process engine say it themselves. */
const rootFromBundle = '../..';

/**
 * The scoring server. This module is the entry of every thread of it, since a bundle is one file: each finds what it is here.
 */
if (isMainThread) await serve();
else if ((workerData as { role?: string }).role === commitThreadRole) runCommitThread();

async function serve(): Promise<void> {
  const startMs = performance.now();
  const log = createLogger('scoring', { format: 'json' });
  try {
    const root = process.env['MODELFERRY_ROOT'] ?? resolve(import.meta.dirname, rootFromBundle);
    const settings = readSettings(root, process.env);
    log.level = settings.logLevel;
    // Only this thread needs ONNX Runtime and HTTP.
    const { ScoringServer } = await import('./server.ts');
    const server = await ScoringServer.start({ settings, log, entry: new URL(import.meta.url) });
    const models = settings.config.models.map(({ name, version }) => `${name}:${version}`);
    log.info(
      {
        port: server.port,
        host: settings.host,
        service: settings.service,
        models,
        startMs: Math.round(performance.now() - startMs),
      },
      'ready',
    );
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        log.info({ signal }, 'stopping');
        void stop(server, log);
      });
    }
  } catch (error) {
    if (isFerryError(error)) log.fatal({ code: error.code, next: error.next }, messageOf(error));
    else log.fatal({ err: error }, 'could not start');
    // 3: Azure ML's server ends so where a model cannot be initialised.
    process.exit(3);
  }
}

async function stop(server: ScoringServer, log: Logger): Promise<never> {
  const complete = await server.stop();
  log.info({ complete }, 'stopped');
  process.exit(complete ? 0 : 1);
}
