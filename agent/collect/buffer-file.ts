import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fchmodSync, openSync } from 'node:fs';
import Database from 'better-sqlite3';
import { FerryError } from '../../shared/errors.ts';

/** Name of the buffer in a module's data folder. */
export const bufferFileName = 'collect.db';

/** Version of the tables below, kept in SQLite's `user_version`. */
const schemaVersion = 1;

/**
 * How long one process waits for the other's transaction. The longest is the acknowledgement of one batch, milliseconds;
 * this is for a disk that stalls.
 */
const busyTimeoutMs = 10_000;

/**
 * Blocks of many rows go over pages, and each page is a write of its own: of these, half as many as of SQLite's 4 KiB. Still larger ones would make
 * the commit of a single row, which rewrites some pages for its few bytes, dearer for the flash of a device. @see `npm run bench -- collect`
 */
const pageBytes = 8192;
/** The write-ahead log is copied into the file when it has grown to this. */
const checkpointBytes = 4 * 1024 * 1024;
/** The write-ahead log is cut back to this after a checkpoint. */
const walBytesMax = 8 * 1024 * 1024;

/**
 * Every collected row has a sequence number, kept or not. A number below `next_seq` is in a block, in a loss, or in a range that a
 * sealed batch accounts for.
 */
const tables = `
  CREATE TABLE buffer (
    id TEXT NOT NULL, bytes INTEGER NOT NULL,
    age_ms INTEGER NOT NULL, ticked_at_ms INTEGER NOT NULL,
    drain TEXT NOT NULL
  ) STRICT;
  CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    workspace TEXT NOT NULL, service TEXT NOT NULL, model TEXT NOT NULL, version INTEGER NOT NULL,
    designation TEXT NOT NULL,
    format TEXT NOT NULL, folder TEXT NOT NULL,
    next_seq INTEGER NOT NULL DEFAULT 1,
    collected INTEGER NOT NULL DEFAULT 0,
    uploaded INTEGER NOT NULL DEFAULT 0,
    UNIQUE (workspace, service, model, version, designation)
  ) STRICT;
  CREATE TABLE writers (id TEXT PRIMARY KEY, last_request INTEGER NOT NULL, wrote_at_ms INTEGER NOT NULL) STRICT;
  CREATE TABLE drops (
    stream INTEGER NOT NULL REFERENCES streams, reason TEXT NOT NULL, rows INTEGER NOT NULL,
    PRIMARY KEY (stream, reason)
  ) STRICT;
  CREATE TABLE losses (
    stream INTEGER NOT NULL REFERENCES streams, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (stream, first_seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE accounted (
    stream INTEGER NOT NULL REFERENCES streams, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    PRIMARY KEY (stream, first_seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE feature_sets (id INTEGER PRIMARY KEY, features TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL REFERENCES streams, feature_set INTEGER NOT NULL REFERENCES feature_sets,
    hour INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, rows INTEGER NOT NULL,
    dropped TEXT NOT NULL, aside TEXT NOT NULL,
    format TEXT NOT NULL, folder TEXT NOT NULL,
    name TEXT NOT NULL, refusals INTEGER NOT NULL DEFAULT 0, quarantined INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX batches_by_stream ON batches (stream, quarantined);
  CREATE TABLE blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL REFERENCES streams, feature_set INTEGER NOT NULL REFERENCES feature_sets,
    batch INTEGER REFERENCES batches,
    hour INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
    rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
    yields INTEGER NOT NULL, thinned INTEGER NOT NULL DEFAULT 0,
    committed_at_ms INTEGER NOT NULL, committed_age_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX blocks_by_stream ON blocks (stream, batch, first_seq);
  CREATE INDEX blocks_by_batch ON blocks (batch) WHERE batch IS NOT NULL;
  CREATE INDEX blocks_by_yielding ON blocks (yields, thinned, id) WHERE batch IS NULL;
  CREATE TABLE packed (block INTEGER PRIMARY KEY REFERENCES blocks ON DELETE CASCADE, bytes BLOB NOT NULL) STRICT;
  CREATE TABLE payloads (
    block INTEGER NOT NULL REFERENCES blocks ON DELETE CASCADE,
    correlation_id TEXT NOT NULL, file TEXT NOT NULL, content_type TEXT NOT NULL, content BLOB NOT NULL
  ) STRICT;
  CREATE INDEX payloads_by_block ON payloads (block);
`;

/**
 * Opens a buffer for writing, and makes it where there is none. Several processes may have it open, of different users
 * too where one of them is root: SQLite gives the files beside it (`-wal`, `-shm`) the owner and the mode of the file itself.
 * @throws {FerryError} BUFFER_INVALID when the file is no buffer, is damaged, or was made by a newer version
 */
export function openBuffer(path: string): Database.Database {
  if (!existsSync(path)) createFile(path);
  const database = new Database(path, { timeout: busyTimeoutMs });
  try {
    // Only before the first table is made can these be set.
    database.pragma(`page_size = ${pageBytes}`);
    database.pragma('auto_vacuum = INCREMENTAL');
    database.pragma('journal_mode = WAL');
    // A commit returns when it is on the disk: what counts as collected outlives a power cut.
    database.pragma('synchronous = FULL');
    database.pragma(`wal_autocheckpoint = ${checkpointBytes / pageBytes}`);
    database.pragma(`journal_size_limit = ${walBytesMax}`);
    database.pragma('foreign_keys = ON');
    database.transaction(migrate).immediate(database);
    return database;
  } catch (cause) {
    database.close();
    throw unusable(path, cause);
  }
}

/** Opens a buffer if there is one: the other process makes it, with its first row. */
export function openExistingBuffer(path: string): Database.Database | undefined {
  return existsSync(path) ? openBuffer(path) : undefined;
}

/**
 * Opens a buffer for reading, where there is one: it waits for nobody's transaction.
 * @throws {FerryError} BUFFER_INVALID when the file is no buffer, is damaged, or is of another version
 */
export function readBuffer<T>(path: string, read: (database: Database.Database) => T): T | undefined {
  if (!existsSync(path)) return undefined;
  let database: Database.Database | undefined;
  try {
    // Not opened as read-only: then SQLite could not take back what a crash has left half done.
    database = new Database(path, { fileMustExist: true, timeout: busyTimeoutMs });
    database.pragma('query_only = ON');
    const version = Number(database.pragma('user_version', { simple: true }));
    // Its maker has not come further than to the empty file.
    if (version === 0) return undefined;
    if (version !== schemaVersion) throw new Error(`its version is ${version}, ${schemaVersion} was wanted`);
    return database.transaction(() => read(database as Database.Database))();
  } catch (cause) {
    throw unusable(path, cause);
  } finally {
    database?.close();
  }
}

/** Makes the empty file, for the owner and the group, whatever the umask: the uploader may be another user of the group. */
function createFile(path: string): void {
  const file = openSync(path, 'a');
  try {
    fchmodSync(file, 0o660);
  } finally {
    closeSync(file);
  }
}

function migrate(database: Database.Database): void {
  const version = Number(database.pragma('user_version', { simple: true }));
  if (version === schemaVersion) return;
  if (version > schemaVersion) throw new Error(`its version is ${version}, at most ${schemaVersion} was wanted`);
  database.exec(tables);
  // The id keeps the blob names of two buffers apart, and of a buffer that was lost and made again.
  database
    .prepare(`INSERT INTO buffer (id, bytes, age_ms, ticked_at_ms, drain) VALUES (?, 0, 0, 0, '{}')`)
    .run(randomBytes(6).toString('hex'));
  database.pragma(`user_version = ${schemaVersion}`);
}

/** Says whether SQLite found the file damaged; another failure may pass, this does not. */
export function isDamage(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string' && /^SQLITE_(CORRUPT|NOTADB)/.test(at.code)) return true;
  }
  return false;
}

/** Makes the failure of a buffer that cannot be used. */
export function unusable(path: string, cause: unknown): FerryError {
  return new FerryError('BUFFER_INVALID', `Cannot open the collection buffer "${path}"`, {
    cause,
    next: 'Move the file away: collection goes on with a new one.',
  });
}
