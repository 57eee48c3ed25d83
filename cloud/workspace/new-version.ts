import { SqliteError } from 'better-sqlite3';
import { join } from 'node:path';
import { FerryError } from '../../shared/errors.ts';
import { FileLock } from '../../shared/file-lock.ts';
import { takeVersion } from './database.ts';
import type { Workspace } from './workspace.ts';

/** The settings of {@link addVersion}. */
export interface NewVersion {
  readonly kind: 'model' | 'image';
  readonly name: string;
  /** Done first, with the version that is about to be given: names the artifact. What it did is overwritten when it fails. */
  readonly prepare: (version: number) => Promise<void>;
  /** Inserts the row, in the transaction that takes the version; from then on the version is there. */
  readonly insert: (version: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Gives the next version of a name to a new model or image. One process at a time, so that the version is known beforehand:
 * a failure or a kill at any moment uses no version up and leaves no row.
 */
export async function addVersion(workspace: Workspace, added: NewVersion): Promise<number> {
  const { kind, name, prepare, insert, signal } = added;
  const { database } = workspace;
  const lock = new FileLock(join(workspace.folder, 'versions.lock'));
  return lock.run(
    async () => {
      const last = database.prepare('SELECT last FROM versions WHERE kind = ? AND name = ?').pluck().get(kind, name);
      const expected = ((last as number | undefined) ?? 0) + 1;
      await prepare(expected);
      const commit = database.transaction(() => {
        const version = takeVersion(database, kind, name);
        if (version !== expected) throw new Error(`Version ${expected} of "${name}" was given without the lock`);
        insert(version);
      });
      try {
        commit.immediate();
      } catch (error) {
        throw databaseFailure(error, `register the ${kind} "${name}"`);
      }
      return expected;
    },
    signal === undefined ? {} : { signal },
  );
}

/** SQLite's ways to say that the disk is full; the second is said where the memory map of the write-ahead log cannot grow. */
const fullCodes: readonly string[] = ['SQLITE_FULL', 'SQLITE_IOERR_SHMSIZE'];

/** Gives the error to throw for a change of the database that failed: DISK_FULL where there is no room, else the failure as it is. */
export function databaseFailure(failure: unknown, doing: string): unknown {
  if (!(failure instanceof SqliteError) || !fullCodes.includes(failure.code)) return failure;
  return new FerryError('DISK_FULL', `Cannot ${doing}: no space is left on the disk`, {
    cause: failure,
    next: 'Free some space there and run the same command again; nothing of this try was left behind.',
  });
}
