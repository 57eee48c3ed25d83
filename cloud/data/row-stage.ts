import { rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import { type Designation, designations } from './blob-path.ts';
import type { DataBlob } from './find-blobs.ts';
import type { CollectedRow } from './read-rows.ts';

/** A row of the joined result; a designation that has no row here is absent. */
export interface JoinedRow {
  readonly service: string;
  readonly model: string;
  readonly version: number;
  readonly correlationId: string;
  readonly requestId: string;
  readonly timestamp: string;
  readonly cells: Readonly<Partial<Record<Designation, CellsOf>>>;
}

/** The values of one collected row and the feature names that they belong to. */
export interface CellsOf {
  readonly features: readonly string[];
  readonly values: readonly string[];
}

/**
 * Rows on their way from blobs to one file, on disk, so that any number of them can be joined in little memory.
 *
 * Rows belong together when they are of one service, model, version and request, the request has equally many of each
 * designation, and they are at the same place in it. Labels come later, by another request: they belong to the row at the same
 * place among those of their correlation id, again only where the numbers are equal. What has no counterpart stays alone.
 */
export class RowStage implements Disposable {
  readonly #database: Database.Database;
  readonly #path: string;
  readonly #insert: Database.Statement;
  readonly #featureSets: (readonly string[])[] = [];

  /** @param path of a file that does not exist; it goes when this is disposed of */
  constructor(path: string) {
    this.#path = path;
    this.#database = new Database(path);
    // Nothing here outlives the process.
    this.#database.pragma('journal_mode = OFF');
    this.#database.pragma('synchronous = OFF');
    this.#database.pragma('locking_mode = EXCLUSIVE');
    this.#database.exec(`
      CREATE TABLE blobs (id INTEGER PRIMARY KEY, service TEXT, model TEXT, version INTEGER, designation TEXT,
        buffer TEXT, first_seq INTEGER) STRICT;
      CREATE TABLE rows (id INTEGER PRIMARY KEY, blob INTEGER, correlation TEXT, request TEXT, at TEXT,
        features INTEGER, cells TEXT) STRICT;
    `);
    this.#insert = this.#database.prepare(
      'INSERT INTO rows (blob, correlation, request, at, features, cells) VALUES (?, ?, ?, ?, ?, ?)',
    );
  }

  /** Opens a blob for its rows; they come in their order in it, and blobs of one buffer in that of their ranges. */
  begin(blob: DataBlob): BlobStage {
    const { service, model, version, designation, range } = blob;
    const { lastInsertRowid: id } = this.#database
      .prepare('INSERT INTO blobs (service, model, version, designation, buffer, first_seq) VALUES (?, ?, ?, ?, ?, ?)')
      .run(service, model, version, designation, range?.bufferId ?? blob.name, range?.firstSeq ?? 0);
    this.#database.exec('BEGIN');
    let features = -1;
    return {
      setFeatures: (names) => {
        features = this.#featureSetId(names);
      },
      add: ({ correlationId, requestId, timestamp, cells }) => {
        this.#insert.run(id, correlationId, requestId, timestamp, features, JSON.stringify(cells));
      },
      keep: () => {
        this.#database.exec('COMMIT');
      },
      giveUp: () => {
        this.#database.exec('COMMIT');
        this.#database.prepare('DELETE FROM rows WHERE blob = ?').run(id);
      },
    };
  }

  /** Counts the staged rows by what they are. */
  counts(): Record<Designation, number> {
    const count = this.#database
      .prepare<[string], number>('SELECT count(*) FROM rows JOIN blobs ON blobs.id = rows.blob WHERE designation = ?')
      .pluck();
    const counted = designations.map((designation) => [designation, count.get(designation) ?? 0]);
    return Object.fromEntries(counted) as Record<Designation, number>;
  }

  /** Gives the feature names of a designation, over all its blobs, in the order in which they first appeared. */
  featuresOf(designation: Designation): string[] {
    const ids = this.#database
      .prepare<[string], number>(
        'SELECT DISTINCT features FROM rows JOIN blobs ON blobs.id = rows.blob WHERE designation = ? ORDER BY features',
      )
      .pluck()
      .all(designation);
    return [...new Set(ids.flatMap((id) => this.#featureSets[id] ?? []))];
  }

  /** Gives the joined rows, oldest request first. To be called when all blobs are staged. */
  *joined(): Generator<JoinedRow> {
    this.#database.exec(joinStatements);
    let current: JoinedRow | undefined;
    let currentKey: string | undefined;
    for (const row of this.#database.prepare<[], StagedRow>(selectJoined).iterate()) {
      const key = JSON.stringify([row.request_group, row.place, row.request_size]);
      if (current !== undefined && key !== currentKey) {
        yield current;
        current = undefined;
      }
      currentKey = key;
      current = this.#withCells(current, row);
    }
    if (current !== undefined) yield current;
  }

  [Symbol.dispose](): void {
    this.#database.close();
    rmSync(this.#path, { force: true });
  }

  #withCells(current: JoinedRow | undefined, row: StagedRow): JoinedRow {
    const { service, model, version, correlation, request, at, designation } = row;
    const base = current ?? {
      service,
      model,
      version,
      correlationId: correlation,
      requestId: request,
      timestamp: at,
      cells: {},
    };
    const cells = { ...base.cells, [designation]: this.#cells(row.features, row.cells) };
    if (row.label_cells === null || row.label_features === null) return { ...base, cells };
    return { ...base, cells: { ...cells, labels: this.#cells(row.label_features, row.label_cells) } };
  }

  #cells(features: number, cells: string): CellsOf {
    return { features: this.#featureSets[features] ?? [], values: JSON.parse(cells) as string[] };
  }

  #featureSetId(names: readonly string[]): number {
    const text = JSON.stringify(names);
    const known = this.#featureSets.findIndex((set) => JSON.stringify(set) === text);
    return known >= 0 ? known : this.#featureSets.push(names) - 1;
  }
}

/** Takes the rows of one blob. */
export interface BlobStage {
  readonly setFeatures: (names: readonly string[]) => void;
  readonly add: (row: CollectedRow) => void;
  /** Ends it; the rows stay. */
  readonly keep: () => void;
  /** Ends it and takes its rows out again. */
  readonly giveUp: () => void;
}

interface StagedRow {
  readonly service: string;
  readonly model: string;
  readonly version: number;
  readonly designation: Designation;
  readonly correlation: string;
  readonly request: string;
  readonly at: string;
  readonly features: number;
  readonly cells: string;
  readonly request_group: number;
  readonly place: number;
  readonly request_size: number;
  readonly label_features: number | null;
  readonly label_cells: string | null;
}

/**
 * Numbers every row within its request and within its correlation id, and counts both, a designation on its own; finds the label of
 * each row; and puts all in order. The values of rows, which are what is large, are
 * not moved by it.
 */
const joinStatements = `
  CREATE TABLE numbered AS
    SELECT rows.id, service, model, version, designation, correlation, request, at,
      row_number() OVER request_window AS place,
      count(*) OVER (PARTITION BY service, model, version, designation, correlation, request) AS request_size,
      row_number() OVER correlation_window AS correlation_place,
      count(*) OVER (PARTITION BY service, model, version, designation, correlation) AS correlation_size
    FROM rows JOIN blobs ON blobs.id = rows.blob
    WINDOW
      request_window AS (PARTITION BY service, model, version, designation, correlation, request
        ORDER BY buffer, first_seq, rows.id),
      correlation_window AS (PARTITION BY service, model, version, designation, correlation
        ORDER BY buffer, first_seq, rows.id);
  CREATE INDEX places ON numbered (service, model, version, correlation, correlation_place, correlation_size, designation);
  CREATE TABLE ordered AS
    SELECT body.*, label.id AS label
    FROM (
      SELECT id, service, model, version, designation, correlation, request, at, place, request_size,
        correlation_place, correlation_size,
        min(at) OVER (PARTITION BY service, model, version, correlation, request) AS began,
        dense_rank() OVER (ORDER BY service, model, version, correlation, request) AS request_group
      FROM numbered WHERE designation <> 'labels' OR NOT EXISTS (
        SELECT 1 FROM numbered AS other WHERE other.designation IN ('inputs', 'predictions') AND ${samePlace('other', 'numbered')})
    ) AS body
    LEFT JOIN numbered AS label ON label.designation = 'labels' AND body.designation IN ('inputs', 'predictions')
      AND ${samePlace('label', 'body')}
    ORDER BY began, request_group, place, request_size, body.designation;
`;

const selectJoined = `
  SELECT service, model, version, designation, ordered.correlation, ordered.request, ordered.at, place, request_size, request_group,
    body.features, body.cells, label.features AS label_features, label.cells AS label_cells
  FROM ordered CROSS JOIN rows AS body ON body.id = ordered.id LEFT JOIN rows AS label ON label.id = ordered.label
  ORDER BY ordered.rowid
`;

function samePlace(one: string, other: string): string {
  const columns = ['service', 'model', 'version', 'correlation', 'correlation_place', 'correlation_size'];
  return columns.map((column) => `${one}.${column} = ${other}.${column}`).join(' AND ');
}
