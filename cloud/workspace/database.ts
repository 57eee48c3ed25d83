import Database from 'better-sqlite3';
import { FerryError } from '../../shared/errors.ts';

/** How long a writer waits for another process's transaction, in milliseconds. */
const busyTimeoutMs = 10_000;

/**
 * One entry a schema version: the statements that lead to it from the one before. Entries are never changed once published.
 * Names, tags, properties and the like are JSON text; times are ISO 8601 in UTC.
 */
const migrations: readonly string[] = [
  `
  CREATE TABLE versions (
    kind TEXT NOT NULL CHECK (kind IN ('model', 'image')),
    name TEXT NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
  ) WITHOUT ROWID;

  CREATE TABLE models (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    artifact_digest TEXT NOT NULL,
    main_path TEXT NOT NULL,
    files TEXT NOT NULL,
    format TEXT NOT NULL,
    signature TEXT NOT NULL,
    metadata TEXT NOT NULL,
    lineage TEXT NOT NULL,
    sample TEXT,
    description TEXT NOT NULL,
    tags TEXT NOT NULL,
    properties TEXT NOT NULL,
    created_at TEXT NOT NULL,
    modified_at TEXT NOT NULL,
    PRIMARY KEY (name, version)
  );

  CREATE TABLE images (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    sbom TEXT NOT NULL,
    platform TEXT NOT NULL,
    layers TEXT NOT NULL,
    description TEXT NOT NULL,
    tags TEXT NOT NULL,
    properties TEXT NOT NULL,
    created_at TEXT NOT NULL,
    modified_at TEXT NOT NULL,
    PRIMARY KEY (name, version)
  );

  CREATE TABLE image_models (
    image_name TEXT NOT NULL,
    image_version INTEGER NOT NULL,
    model_name TEXT NOT NULL,
    model_version INTEGER NOT NULL,
    PRIMARY KEY (image_name, image_version, model_name, model_version),
    FOREIGN KEY (image_name, image_version) REFERENCES images ON DELETE CASCADE,
    FOREIGN KEY (model_name, model_version) REFERENCES models
  ) WITHOUT ROWID;

  CREATE TABLE services (
    name TEXT PRIMARY KEY,
    target TEXT NOT NULL,
    image_name TEXT NOT NULL,
    image_version INTEGER NOT NULL,
    image_digest TEXT NOT NULL,
    settings TEXT NOT NULL,
    deployment TEXT NOT NULL,
    description TEXT NOT NULL,
    tags TEXT NOT NULL,
    properties TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (image_name, image_version) REFERENCES images
  );
  `,
  `
  ALTER TABLE images ADD COLUMN flavor TEXT NOT NULL DEFAULT 'web';
  ALTER TABLE images ADD COLUMN script TEXT;
  `,
  `
  ALTER TABLE services ADD COLUMN compute TEXT;
  UPDATE services SET settings = json_remove(json_set(settings,
    '$.collectFormat', coalesce(json_extract(settings, '$.collectFiles.format'), 'csv'),
    '$.collectFolder', coalesce(json_extract(settings, '$.collectFiles.folder'), 'day')), '$.collectFiles');

  CREATE TABLE operations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    process TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    error TEXT
  );
  CREATE INDEX operations_of_service ON operations (service, id);

  CREATE TABLE operation_lines (
    operation INTEGER NOT NULL REFERENCES operations ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    at TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (operation, sequence)
  ) WITHOUT ROWID;
  `,
  `
  ALTER TABLE models ADD COLUMN sources TEXT;
  `,
];

/** A connection to `workspace.db`. */
export type WorkspaceDatabase = Database.Database;

/**
 * Opens `workspace.db`, makes it where it is missing, and brings an older one up to date. Several processes may have it open.
 * @throws {FerryError} WORKSPACE_TOO_NEW when a newer program has written it
 * @throws {FerryError} WORKSPACE_CORRUPT when it is no database or a damaged one
 */
export function openDatabase(path: string): WorkspaceDatabase {
  let database: WorkspaceDatabase | undefined;
  try {
    database = new Database(path, { timeout: busyTimeoutMs });
    database.pragma('journal_mode = WAL');
    // Registered means registered: a commit survives a power cut.
    database.pragma('synchronous = FULL');
    database.pragma('foreign_keys = ON');
    migrate(database, path);
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof Database.SqliteError && ['SQLITE_NOTADB', 'SQLITE_CORRUPT'].includes(error.code)) {
      throw new FerryError('WORKSPACE_CORRUPT', `Cannot open "${path}": it is damaged, an SQLite database was wanted`, {
        cause: error,
        next: 'Restore the file from a backup.',
      });
    }
    throw error;
  }
}

function migrate(database: WorkspaceDatabase, path: string): void {
  const migrateAll = database.transaction(() => {
    const version = database.pragma('user_version', { simple: true }) as number;
    if (version > migrations.length) {
      throw new FerryError(
        'WORKSPACE_TOO_NEW',
        `Cannot open "${path}": its schema is version ${version}, ${migrations.length} at most was wanted`,
        { next: 'Use a newer version of ferry.' },
      );
    }
    for (const statements of migrations.slice(version)) database.exec(statements);
    if (version < migrations.length) database.pragma(`user_version = ${migrations.length}`);
  });
  migrateAll.immediate();
}

/**
 * Takes the next version of a name: 1, 2, 3 and so on; a number is never given twice, even after a deletion.
 * To be called inside of the transaction that inserts what bears it.
 */
export function takeVersion(database: WorkspaceDatabase, kind: 'model' | 'image', name: string): number {
  return database
    .prepare(
      `INSERT INTO versions (kind, name, last) VALUES (?, ?, 1)
       ON CONFLICT (kind, name) DO UPDATE SET last = last + 1 RETURNING last`,
    )
    .pluck()
    .get(kind, name) as number;
}
