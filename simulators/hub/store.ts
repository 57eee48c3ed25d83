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
 * The hub's documents, on disk or in memory.
 *
 * Invariants: a call that came back is in the file (a killed process loses nothing; a power cut may lose the last
 * transactions, never corrupt); what is read back is JSON that this class wrote.
 */
export class Store implements Disposable {
  readonly #database: Database.Database;
  readonly #put: Database.Statement<[string, string, string]>;
  readonly #remove: Database.Statement<[string, string]>;
  readonly #read: Database.Statement<[string], { readonly name: string; readonly document: string }>;

  /** @param file path of the SQLite file, or `undefined` to keep everything in memory */
  constructor(file: string | undefined) {
    this.#database = new Database(file ?? ':memory:');
    this.#database.pragma('journal_mode = WAL');
    this.#database.pragma('synchronous = NORMAL');
    const version = Number(this.#database.pragma('user_version', { simple: true }));
    if (version > schemaVersion) {
      this.#database.close();
      throw new FerryError(
        'WORKSPACE_TOO_NEW',
        `Cannot open the hub's state "${file ?? ''}": it has version ${version}, ${schemaVersion} or older was wanted`,
      );
    }
    this.#database.exec(
      'CREATE TABLE IF NOT EXISTS documents (kind TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID',
    );
    this.#database.pragma(`user_version = ${schemaVersion}`);
    this.#put = this.#database.prepare('INSERT OR REPLACE INTO documents (kind, name, document) VALUES (?, ?, ?)');
    this.#remove = this.#database.prepare('DELETE FROM documents WHERE kind = ? AND name = ?');
    this.#read = this.#database.prepare('SELECT name, document FROM documents WHERE kind = ? ORDER BY name');
  }

  put(kind: DocumentKind, name: string, document: unknown): void {
    this.#put.run(kind, name, JSON.stringify(document));
  }

  remove(kind: DocumentKind, name: string): void {
    this.#remove.run(kind, name);
  }

  /** Reads all documents of a kind, by name; each is what was put, the caller knows its shape. */
  read<T>(kind: DocumentKind): Map<string, T> {
    return new Map(this.#read.all(kind).map(({ name, document }) => [name, JSON.parse(document) as T]));
  }

  /** Runs work whose puts and removes become durable together or not at all. */
  together<T>(work: () => T): T {
    return this.#database.inTransaction ? work() : this.#database.transaction(work)();
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}
