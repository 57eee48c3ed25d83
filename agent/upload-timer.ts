import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../shared/clock.ts';
import { isFerryError, messageOf } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';
import type { UploadDestination } from './collect/upload-destination.ts';

/** Sends what a module's buffer holds, and says how many rows that were. */
export type Drain = (databasePath: string, destination: UploadDestination, signal: AbortSignal) => Promise<number>;

/** What became of the last try to send what a module has collected. */
export interface UploadRecord {
  readonly module: string;
  readonly atMs: number;
  readonly rows: number;
  /** Why it failed. */
  readonly error?: string;
}

/** The settings of {@link uploadAll} and {@link uploadEvery}. */
export interface UploadOptions {
  /** Folder that holds a folder for each module, whose `data/collect.db` is its buffer. */
  readonly modulesFolder: string;
  readonly destination: UploadDestination;
  readonly drain: Drain;
  /** Is told of every try that had something to send, or failed. */
  readonly onUpload: (record: UploadRecord) => void;
  /** Is told after every try, whatever became of it. */
  readonly onDrained: (module: string, databasePath: string) => Promise<void>;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Sends the buffers of all modules at every interval until the signal is aborted. A failure is told and the next interval tries again. */
export async function uploadEvery(options: UploadOptions & { everyMs: number; clock: Clock }): Promise<void> {
  const { signal, everyMs, clock } = options;
  while (!signal.aborted) {
    await clock.sleep(everyMs, signal).catch(() => undefined);
    if (!signal.aborted) await uploadAll(options);
  }
}

/** Sends the buffers of all modules once, those of modules that are gone too. One that fails does not keep the others. */
export async function uploadAll({
  modulesFolder,
  destination,
  drain,
  onUpload,
  onDrained,
  log,
  signal,
}: UploadOptions): Promise<void> {
  const modules = await readdir(modulesFolder).catch(() => []);
  for (const module of modules) {
    if (signal.aborted) return;
    const databasePath = join(modulesFolder, module, 'data', 'collect.db');
    try {
      const rows = await drain(databasePath, destination, signal);
      if (rows > 0) {
        log.info({ module, rows }, 'uploaded collected rows');
        onUpload({ module, atMs: Date.now(), rows });
      }
    } catch (error) {
      if (signal.aborted) return;
      onUpload({ module, atMs: Date.now(), rows: 0, error: messageOf(error) });
      const code = isFerryError(error) ? error.code : undefined;
      log.warn({ module, code }, `collected rows stay in the buffer: ${messageOf(error)}`);
    }
    await onDrained(module, databasePath).catch((error: unknown) => {
      log.warn({ module, why: messageOf(error) }, 'the ledger of what is collected cannot be read');
    });
  }
}
