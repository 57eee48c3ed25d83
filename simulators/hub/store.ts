import Database from 'better-sqlite3';
import { FerryError } from '../../shared/errors.ts';

/** What the hub keeps, one kind of document a part of it. */
export type DocumentKind =
  | 'policies'
  | 'device'
  | 'module'
  | 'twin'
  | 'configuration'
  | 'event'
  | 'session'
  | 'command'
  | 'upload'
  | 'notification'
  | 'job'
  | 'registry-job';

const schemaVersion = 1;

/**
 * The hub's documents on disk; without a file nothing is kept, since nobody could read it back: each part of the hub holds its own while it runs.
 *
 * Invariants: a call that came back is in the file (a killed process loses nothing; a power cut may lose the last
 * transactions, never corrupt); what is read back is JSON that this class wrote.
 */
export class Store implements Disposable {
  readonly #kept: Kept | undefined;

  /** @param file path of the SQLite file, or `undefined` to keep nothing */
  constructor(file: string | undefined) {
    this.#kept = file === undefined ? undefined : openFile(file);
  }

  put(kind: DocumentKind, name: string, document: unknown): void {
    this.#kept?.put.run(kind, name, JSON.stringify(document));
  }

  remove(kind: DocumentKind, name: string): void {
    this.#kept?.remove.run(kind, name);
  }

  /** Reads all documents of a kind, by name; each is what was put, the caller knows its shape. */
  read<T>(kind: DocumentKind): Map<string, T> {
    const rows = this.#kept?.read.all(kind) ?? [];
    return new Map(rows.map(({ name, document }) => [name, JSON.parse(document) as T]));
  }

  /** Runs work whose puts and removes become durable together or not at all. */
  together<T>(work: () => T): T {
    const database = this.#kept?.database;
    return database === undefined || database.inTransaction ? work() : database.transaction(work)();
  }

  [Symbol.dispose](): void {
    this.#kept?.database.close();
  }
}

/** A file that is open, and what is done with it. */
interface Kept {
  readonly database: Database.Database;
  readonly put: Database.Statement<[string, string, string]>;
  readonly remove: Database.Statement<[string, string]>;
  readonly read: Database.Statement<[string], { readonly name: string; readonly document: string }>;
}

function openFile(file: string): Kept {
  const database = new Database(file);
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = NORMAL');
  const version = Number(database.pragma('user_version', { simple: true }));
  if (version > schemaVersion) {
    database.close();
    throw new FerryError(
      'WORKSPACE_TOO_NEW',
      `Cannot open the hub's state "${file}": it has version ${version}, ${schemaVersion} or older was wanted`,
    );
  }
  database.exec(
    'CREATE TABLE IF NOT EXISTS documents (kind TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID',
  );
  database.pragma(`user_version = ${schemaVersion}`);
  return {
    database,
    put: database.prepare('INSERT OR REPLACE INTO documents (kind, name, document) VALUES (?, ?, ?)'),
    remove: database.prepare('DELETE FROM documents WHERE kind = ? AND name = ?'),
    read: database.prepare('SELECT name, document FROM documents WHERE kind = ? ORDER BY name'),
  };
}
