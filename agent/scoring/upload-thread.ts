import { Worker } from 'node:worker_threads';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { StorageAccess } from '../collect/storage-upload.ts';

/** The role that a thread started by {@link UploadThread} finds in its `workerData`. */
export const uploadThreadRole = 'upload';

/** What the thread finds in its `workerData`. */
export interface UploadThreadData {
  readonly databasePath: string;
  readonly access: StorageAccess;
  /** How often collected rows are sent, in milliseconds. */
  readonly everyMs: number;
  readonly logLevel: string;
}

/** The settings of an {@link UploadThread}. */
export interface UploadThreadOptions extends UploadThreadData {
  /** The program's main module. */
  readonly entry: URL;
  readonly log: Logger;
}

/** How long it takes until a thread that ended is started again. */
const restartAfterMs = 1000;

/** How long the last rows get to reach storage at the end, of the ten seconds that Docker gives; those that do not are in the buffer's file. */
const stopTimeoutMs = 7_500;

/**
 * Sends what is collected to storage, from where there is no agent that does. It is a thread, because making files takes time that
 * scoring does not have.
 */
export class UploadThread {
  readonly #options: UploadThreadOptions;
  #worker: Worker;
  #stopping = false;

  constructor(options: UploadThreadOptions) {
    this.#options = options;
    this.#worker = this.#start();
  }

  /**
   * Sends the last rows, and ends.
   * @returns whether all of them are in storage
   */
  async stop(): Promise<boolean> {
    this.#stopping = true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), stopTimeoutMs);
    this.#worker.once('message', (complete: boolean) => resolve(complete));
    this.#worker.once('exit', () => resolve(false));
    this.#worker.postMessage('stop', []);
    const complete = await promise.finally(() => clearTimeout(timer));
    await this.#worker.terminate();
    return complete;
  }

  #start(): Worker {
    const { databasePath, access, everyMs, logLevel, log, entry } = this.#options;
    const data: UploadThreadData = { databasePath, access, everyMs, logLevel };
    const worker = new Worker(entry, { workerData: { role: uploadThreadRole, ...data }, argv: [] });
    worker.on('error', (error) => log.error({ reason: messageOf(error) }, 'the thread that uploads failed'));
    worker.on('exit', () => {
      setTimeout(() => {
        if (!this.#stopping) this.#worker = this.#start();
      }, restartAfterMs).unref();
    });
    return worker;
  }
}
