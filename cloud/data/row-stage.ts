import { rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import { z } from 'zod';
import { type TensorType, tensorTypes } from '../../shared/model/signature.ts';
import { type Designation, designations } from './blob-path.ts';
import { typeOfText, widerType } from './column-type.ts';
import type { DataBlob } from './find-blobs.ts';
import { joinStatements, selectJoined, type StagedRow, stageTables, supersededLabels } from './join.ts';
import type { CollectedRow, Feature, RowSink } from './read/collected-row.ts';

/**
 * What SQLite keeps in memory of the file, and of each sort until it goes to a file of its own. The join has several at a time.
 */
const cacheKibibytes = 4096;

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

/** The values of one collected row and the features that they belong to. */
export interface CellsOf {
  readonly features: readonly Feature[];
  readonly values: readonly (string | null)[];
}

const featuresSchema = z.array(
  z.object({ name: z.string(), type: z.enum(tensorTypes).optional() }).transform(({ name, type }) => ({ name, type })),
);

/**
 * Rows on their way from blobs to one file, on disk, so that any number of them can be joined in little memory. A blob is here
 * wholly or not at all, whenever the process ends, so that the next one goes on with those that are missing.
 */
export class RowStage implements Disposable {
  readonly #database: Database.Database;
  readonly #path: string;
  readonly #insert: Database.Statement;
  readonly #featureSets = new Map<number, readonly Feature[]>();

  /**
   * Opens the stage of a file; what another pull has left there is forgotten.
   * @param identity what is pulled: the same for two pulls that would give the same file
   * @throws SQLite's SQLITE_BUSY while another process has it open
   */
  constructor(path: string, identity: string) {
    this.#path = path;
    this.#database = new Database(path, { timeout: 0 });
    try {
      this.#database.pragma('locking_mode = EXCLUSIVE');
      this.#database.pragma('journal_mode = WAL');
      this.#database.pragma('synchronous = NORMAL');
      this.#database.pragma(`cache_size = ${-cacheKibibytes}`);
      this.#database.transaction(() => this.#begin(identity)).exclusive();
    } catch (error) {
      this.#database.close();
      throw error;
    }
    this.#insert = this.#database.prepare(
      'INSERT INTO rows (blob, correlation, request, at, features, cells, aside) VALUES (?, ?, ?, ?, ?, ?, ?)',
    );
  }

  /** Forgets blobs that are not among these, or have changed since. */
  retain(blobs: readonly DataBlob[]): void {
    const etags = new Map(blobs.map(({ name, etag }) => [name, etag]));
    const staged = this.#database
      .prepare<[], { id: number; name: string; etag: string }>('SELECT id, name, etag FROM blobs')
      .all();
    for (const { id, name, etag } of staged) if (etags.get(name) !== etag) this.#forget(id);
  }

  /** Says whether the rows of the blob are here. */
  has({ name }: DataBlob): boolean {
    return this.#database.prepare('SELECT 1 FROM blobs WHERE name = ?').get(name) !== undefined;
  }

  /** Says whether there is no blob here. */
  get isEmpty(): boolean {
    return this.#database.prepare('SELECT 1 FROM blobs').get() === undefined;
  }

  /** Opens a blob for its rows; they come in their order in it, and blobs of one buffer in that of their ranges. */
  begin(blob: DataBlob): BlobStage {
    this.#database.exec('BEGIN');
    const { service, model, version, designation, range, name, etag, fromMs } = blob;
    const { lastInsertRowid: id } = this.#database
      .prepare(
        `INSERT INTO blobs (name, etag, service, model, version, designation, from_ms, buffer, first_seq)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(name, etag, service, model, version, designation, fromMs, range?.bufferId ?? name, range?.firstSeq ?? 0);
    const sets = new Map<number, FoundTypes>();
    let current: FoundTypes = { set: -1, types: [], untyped: [] };
    return {
      setFeatures: (features) => {
        const set = this.#featureSetId(features);
        current = sets.get(set) ?? foundTypes(set, features);
        sets.set(set, current);
      },
      add: ({ correlationId, requestId, timestamp, cells }, aside = false) => {
        const { set, types, untyped } = current;
        for (const at of untyped) types[at] = widerType(types[at], typeOfText(cells[at] ?? null));
        this.#insert.run(id, correlationId, requestId, timestamp, set, JSON.stringify(cells), Number(aside));
      },
      keep: () => {
        const insert = this.#database.prepare(
          'INSERT INTO blob_features (blob, place, features, types) VALUES (?, ?, ?, ?)',
        );
        let place = 0;
        for (const { set, types } of sets.values()) insert.run(id, place++, set, JSON.stringify(types));
        this.#database.exec('COMMIT');
      },
      giveUp: () => {
        // SQLite has done so itself where the disk is full.
        if (this.#database.inTransaction) this.#database.exec('ROLLBACK');
        this.#featureSets.clear();
      },
    };
  }

  /** Counts the staged rows by what they are. */
  counts(): Record<Designation, number> {
    const count = this.#database
      .prepare<[string], number>(
        'SELECT count(*) FROM rows JOIN blobs ON blobs.id = rows.blob WHERE designation = ? AND aside = 0',
      )
      .pluck();
    const counted = designations.map((designation) => [designation, count.get(designation) ?? 0]);
    return Object.fromEntries(counted) as Record<Designation, number>;
  }

  /** Gives the features of a designation over all its blobs, in the order in which they first appeared, each with a type that holds all its values. */
  featuresOf(designation: Designation): Feature[] {
    const sets = this.#database
      .prepare<[string], { features: number; types: string }>(
        `SELECT features, types FROM blob_features JOIN blobs ON blobs.id = blob_features.blob
         WHERE designation = ? ORDER BY from_ms, buffer, first_seq, name, place`,
      )
      .all(designation);
    const types = new Map<string, TensorType | undefined>();
    for (const set of sets) {
      const found = z.array(z.enum(tensorTypes).nullable()).parse(JSON.parse(set.types));
      for (const [at, { name }] of this.#features(set.features).entries()) {
        types.set(name, widerType(types.get(name), found[at] ?? undefined));
      }
    }
    return [...types].map(([name, type]) => ({ name, type }));
  }

  /** Puts all rows in order and together. To be called when all blobs are staged, before {@link joined}. */
  join(): void {
    this.#database.transaction(() => this.#database.exec(joinStatements))();
  }

  /** Counts the labels that later ones for the same row have taken the place of. */
  get superseded(): number {
    return this.#database.prepare<[], number>(supersededLabels).pluck().get() ?? 0;
  }

  /** Gives the joined rows, oldest request first. */
  *joined(): Generator<JoinedRow> {
    let current: JoinedRow | undefined;
    let currentKey: string | undefined;
    for (const row of this.#database.prepare<[], StagedRow>(selectJoined).iterate()) {
      const key = `${row.request_group} ${row.place} ${row.request_size}`;
      if (current !== undefined && key !== currentKey) {
        yield current;
        current = undefined;
      }
      currentKey = key;
      current = this.#withCells(current, row);
    }
    if (current !== undefined) yield current;
  }

  /** Deletes it: it is not needed any more. */
  discard(): void {
    this.#database.close();
    for (const suffix of ['-wal', '-shm', '']) rmSync(this.#path + suffix, { force: true });
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  #begin(identity: string): void {
    const known = this.#database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'pull'").get() !== undefined;
    const found = known ? this.#database.prepare<[], string>('SELECT identity FROM pull').pluck().get() : undefined;
    if (found === identity) return;
    const tables = this.#database
      .prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
      .pluck()
      .all();
    for (const table of tables) this.#database.exec(`DROP TABLE "${table}"`);
    this.#database.exec(stageTables);
    this.#database.prepare('INSERT INTO pull (identity) VALUES (?)').run(identity);
  }

  #forget(blob: number): void {
    this.#database.transaction(() => {
      for (const table of ['rows', 'blob_features']) {
        this.#database.prepare(`DELETE FROM ${table} WHERE blob = ?`).run(blob);
      }
      this.#database.prepare('DELETE FROM blobs WHERE id = ?').run(blob);
    })();
  }

  #withCells(current: JoinedRow | undefined, row: StagedRow): JoinedRow {
    const { service, model, version, correlation, request, at, designation } = row;
    const ids = { service, model, version, correlationId: correlation, requestId: request, timestamp: at };
    const base = current ?? { ...ids, cells: {} };
    const cells = { ...base.cells, [designation]: this.#cells(row.features, row.cells) };
    if (row.label_cells === null || row.label_features === null) return { ...base, cells };
    return { ...base, cells: { ...cells, labels: this.#cells(row.label_features, row.label_cells) } };
  }

  #cells(features: number, cells: string): CellsOf {
    return { features: this.#features(features), values: JSON.parse(cells) as (string | null)[] };
  }

  #features(id: number): readonly Feature[] {
    const known = this.#featureSets.get(id);
    if (known !== undefined) return known;
    const text = this.#database
      .prepare<[number], string>('SELECT features FROM feature_sets WHERE id = ?')
      .pluck()
      .get(id);
    const features = featuresSchema.parse(JSON.parse(text ?? '[]'));
    this.#featureSets.set(id, features);
    return features;
  }

  #featureSetId(features: readonly Feature[]): number {
    const text = JSON.stringify(features);
    this.#database.prepare('INSERT OR IGNORE INTO feature_sets (features) VALUES (?)').run(text);
    return (
      this.#database.prepare<[string], number>('SELECT id FROM feature_sets WHERE features = ?').pluck().get(text) ?? -1
    );
  }
}

/** The types of one set of features in a blob: those that are known, and those that its values have. */
interface FoundTypes {
  readonly set: number;
  readonly types: (TensorType | undefined)[];
  /** Places of those that the values tell. */
  readonly untyped: readonly number[];
}

function foundTypes(set: number, features: readonly Feature[]): FoundTypes {
  const untyped = features.flatMap(({ type }, at) => (type === undefined ? [at] : []));
  return { set, types: features.map(({ type }) => type), untyped };
}

/** Takes the rows of one blob. */
export interface BlobStage extends RowSink {
  /** @param aside whether the row is there for others to be joined with alone: a label of rows of another time */
  readonly add: (row: CollectedRow, aside?: boolean) => void;
  /** Ends it; the rows stay. */
  readonly keep: () => void;
  /** Ends it; none of its rows stays. */
  readonly giveUp: () => void;
}
