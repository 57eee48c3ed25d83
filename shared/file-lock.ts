import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { withDeadline } from './deadline.ts';
import { FerryError } from './errors.ts';

/** The settings of one {@link FileLock.run}. */
export interface FileLockOptions {
  /** How long to wait for the others, in milliseconds. @default 30_000 */
  readonly timeoutMs?: number;
  /** Ends the waiting; work that has begun is not ended by it. */
  readonly signal?: AbortSignal;
}

/** How long the tries are apart, in milliseconds: short at first, since a holder mostly replaces one small file. */
const retryDelaysMs = [1, 2, 5, 10, 20, 50] as const;

/**
 * Mutual exclusion between processes, by a lock on a file.
 *
 * Invariants:
 * - of all processes and of all `FileLock` objects with the same path, at most one is in a `run` at a time;
 * - the kernel holds the lock, as SQLite's write lock on an empty database: a process that dies in any way lets go of it;
 * - the callers of one object come in their order; between processes there is no order.
 *
 * The file stays where it is after use: removing it would let two holders in. Not reentrant: a `run` inside a `run` of the
 * same path waits for itself until its time is over.
 */
export class FileLock {
  readonly path: string;
  /** Settles when every caller so far is done. */
  #last: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Runs work while nobody else does.
   * @throws {FerryError} TIMEOUT when the lock was not free in time
   * @throws {FerryError} FILE_UNREADABLE when the lock file can neither be opened nor made
   */
  async run<T>(work: () => Promise<T>, options: FileLockOptions = {}): Promise<T> {
    const { timeoutMs = 30_000, signal } = options;
    const before = this.#last;
    const { promise: done, resolve: finish } = Promise.withResolvers<void>();
    this.#last = before.then(() => done);
    try {
      const deadline = { doing: `lock "${this.path}"`, timeoutMs, ...(signal === undefined ? {} : { signal }) };
      using _held = await withDeadline(deadline, async (signal) => {
        await before;
        return this.#acquire(signal);
      });
      return await work();
    } finally {
      finish();
    }
  }

  /** Tries until it holds the lock or the signal is aborted; disposing of the result lets go. */
  async #acquire(signal: AbortSignal): Promise<Disposable> {
    for (let attempt = 0; ; attempt += 1) {
      signal.throwIfAborted();
      // Nothing is awaited between taking the lock and giving it back, so a caller who has gone cannot be given it.
      const held = this.#tryAcquire();
      if (held !== undefined) return held;
      await sleep(retryDelaysMs[Math.min(attempt, retryDelaysMs.length - 1)], undefined, { signal });
    }
  }

  #tryAcquire(): Disposable | undefined {
    let database: Database.Database | undefined;
    try {
      database = new Database(this.path, { timeout: 0 });
      database.exec('BEGIN IMMEDIATE');
      const held = database;
      return { [Symbol.dispose]: () => void held.close() };
    } catch (cause) {
      database?.close();
      if (cause instanceof Database.SqliteError && cause.code.startsWith('SQLITE_BUSY')) return undefined;
      if (cause instanceof Database.SqliteError && cause.code === 'SQLITE_FULL') {
        const message = `Cannot lock "${this.path}": no space is left on the disk`;
        throw new FerryError('DISK_FULL', message, {
          cause,
          next: 'Free some space there and run the same command again.',
        });
      }
      throw new FerryError('FILE_UNREADABLE', `Cannot lock "${this.path}": it cannot be opened for writing`, { cause });
    }
  }
}
