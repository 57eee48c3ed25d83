import type Database from 'better-sqlite3';
import type { CollectFolder, CollectFormat, FileSettings } from '../../shared/collect/file-settings.ts';
import { type FeatureSet, featureSetSchema } from './feature-set.ts';
import type { Designation, StreamIdentity } from './stream.ts';

/** When rows become a file: as soon as there are enough of them, or they have waited long enough. */
export interface SealLimits {
  readonly rowsMax: number;
  /** Packed bytes. */
  readonly bytesMax: number;
  readonly ageMsMax: number;
}

/** A sealed range of one stream: recorded before it is sent, so that it has the same name and bytes however often it is. */
export interface Batch extends FileSettings {
  readonly id: number;
  readonly stream: StreamIdentity;
  readonly features: FeatureSet;
  readonly bufferId: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Rows in the range; fewer than it spans only where some were dropped. */
  readonly rows: number;
  readonly name: string;
  /** How often storage has refused it. */
  readonly refusals: number;
}

/** A batch that storage refused so often is put aside: it would be refused for ever, and others wait behind it. */
const refusalsMax = 5;

/** The draining side of a buffer: seals ranges, reads them, and deletes what storage has acknowledged. */
export class Sealing {
  readonly #database: Database.Database;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database.Database) {
    this.#database = database;
    this.#statements = prepare(database);
  }

  /** Gives the streams that have rows, each with the number of its newest row. */
  streams(): { id: number; lastSeq: number }[] {
    return this.#statements.streams.all();
  }

  /**
   * Gives the stream's sealed batch, and seals the next one where there is none.
   * @returns undefined when nothing is due
   */
  sealNext(
    stream: number,
    options: { readonly limits: SealLimits; readonly all: boolean; readonly nowMs: number },
  ): Batch | undefined {
    return this.#database
      .transaction(() => {
        const sealed = this.#statements.sealed.get(stream);
        if (sealed !== undefined) return toBatch(sealed);
        const range = this.#nextRange(stream, options);
        if (range === undefined) return undefined;
        this.#statements.seal.run({ ...range, stream, name: '' });
        const batch = this.#statements.sealed.get(stream);
        if (batch === undefined) throw new Error(`The batch of stream ${stream} was not recorded`);
        const name = blobName(batch);
        this.#statements.name.run(name, batch.id);
        return toBatch({ ...batch, name });
      })
      .immediate();
  }

  /** Reads the packed blocks of a batch, in order. */
  *blocks(batch: Batch): Generator<Uint8Array> {
    for (const id of this.#statements.blockIds.all({ id: batch.id })) {
      const packed = this.#statements.packed.get(id);
      if (packed === undefined) throw new Error(`Block ${id} of the sealed batch "${batch.name}" is gone`);
      yield packed;
    }
  }

  /** Deletes the rows of a batch that storage has, and counts them as uploaded; a second time it does nothing. */
  acknowledge(batch: Batch): void {
    const { deleteBlocks, addBytes, addUploaded, deleteBatch, batchBytes } = this.#statements;
    this.#database
      .transaction(() => {
        const bytes = batchBytes.get({ id: batch.id });
        if (bytes === undefined) return;
        addUploaded.run(batch.rows, batch.id);
        deleteBlocks.run({ id: batch.id });
        addBytes.run(-bytes);
        deleteBatch.run(batch.id);
      })
      .immediate();
  }

  /**
   * Counts that storage refused a batch, and puts it aside when it has done so too often.
   * @returns whether it is aside now
   */
  refuse(batch: Batch): boolean {
    const quarantined = batch.refusals + 1 >= refusalsMax;
    this.#statements.refuse.run(Number(quarantined), batch.id);
    return quarantined;
  }

  /** Gives the disk space of deleted rows back, a little at a time, and shortens the write-ahead log. */
  tidy(): void {
    this.#database.pragma('incremental_vacuum(256)');
    this.#database.pragma('wal_checkpoint(PASSIVE)');
  }

  /** Takes blocks from the oldest on while they share folder and feature set, up to the limits. */
  #nextRange(stream: number, options: { limits: SealLimits; all: boolean; nowMs: number }): Range | undefined {
    const { limits, all, nowMs } = options;
    let range: Range | undefined;
    let bytes = 0;
    let full = false;
    let oldestMs = nowMs;
    const files = this.#statements.files.get(stream);
    if (files === undefined) return undefined;
    for (const block of this.#statements.waiting.iterate(stream)) {
      const { featureSet, firstSeq, rows } = block;
      const hour = folderStart(block.hour, files.folder);
      if (range === undefined) {
        range = { ...files, hour, featureSet, firstSeq, lastSeq: firstSeq + rows - 1, rows };
        oldestMs = block.committedAtMs;
      } else {
        const differs = hour !== range.hour || featureSet !== range.featureSet;
        full = differs || range.rows + rows > limits.rowsMax || bytes + block.bytes > limits.bytesMax;
        if (full) break;
        range = { ...range, lastSeq: firstSeq + rows - 1, rows: range.rows + rows };
      }
      bytes += block.bytes;
    }
    // A clock that was set back must not keep rows for ever.
    const age = nowMs - oldestMs;
    return all || full || age >= limits.ageMsMax || age < 0 ? range : undefined;
  }
}

interface Range extends FileSettings {
  /** Where the folder begins, in hours since 1970. */
  readonly hour: number;
  readonly featureSet: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly rows: number;
}

interface BatchRow extends Range, Omit<StreamIdentity, 'designation'> {
  readonly id: number;
  readonly designation: Designation;
  readonly bufferId: string;
  readonly features: string;
  readonly name: string;
  readonly refusals: number;
}

function toBatch(row: BatchRow): Batch {
  const { workspace, service, model, version, designation } = row;
  return {
    id: row.id,
    stream: { workspace, service, model, version, designation },
    features: featureSetSchema.parse(JSON.parse(row.features)),
    bufferId: row.bufferId,
    firstSeq: row.firstSeq,
    lastSeq: row.lastSeq,
    rows: row.rows,
    format: row.format,
    folder: row.folder,
    name: row.name,
    refusals: row.refusals,
  };
}

/** Names the blob by what it holds, in Azure ML's folders, so that no two batches of any device share a name. */
function blobName(batch: BatchRow): string {
  const { workspace, service, model, version, designation, bufferId, firstSeq, lastSeq } = batch;
  const time = new Date(batch.hour * 3_600_000).toISOString();
  const folder = time.slice(0, batch.folder === 'hour' ? 13 : 10).replaceAll(/[-T]/g, '/');
  const file = `${designation}-${bufferId}-${firstSeq}-${lastSeq}.${fileExtension(batch.format)}`;
  return [workspace, service, model, version, designation, folder, file].join('/');
}

/** Gives the first hour of the folder that an hour is in. */
function folderStart(hour: number, folder: CollectFolder): number {
  return folder === 'hour' ? hour : hour - (hour % 24);
}

function fileExtension(format: CollectFormat): string {
  return format === 'csv-2018' ? 'csv' : format;
}

/** The tables are STRICT, so the columns have the types that are named here. */
function prepare(database: Database.Database) {
  const blocksOfBatch = `FROM blocks WHERE stream = (SELECT stream FROM batches WHERE id = @id)
    AND first_seq BETWEEN (SELECT first_seq FROM batches WHERE id = @id) AND (SELECT last_seq FROM batches WHERE id = @id)`;
  // Batches are sealed from the oldest row on, so what is behind the last one that was put aside has not been sealed yet.
  const notQuarantined = `first_seq > (
    SELECT coalesce(max(last_seq), 0) FROM batches WHERE batches.stream = blocks.stream AND quarantined = 1)`;
  return {
    streams: database.prepare<[], { id: number; lastSeq: number }>(
      `SELECT id, next_seq - 1 AS lastSeq FROM streams
       WHERE EXISTS (SELECT 1 FROM blocks WHERE blocks.stream = streams.id AND ${notQuarantined}) ORDER BY id`,
    ),
    sealed: database.prepare<[number], BatchRow>(
      `SELECT batches.id, workspace, service, model, version, designation, buffer.id AS bufferId, features,
         hour, feature_set AS featureSet, first_seq AS firstSeq, last_seq AS lastSeq, rows, name, refusals,
         batches.format, batches.folder
       FROM batches JOIN streams ON streams.id = batches.stream
         JOIN feature_sets ON feature_sets.id = batches.feature_set JOIN buffer
       WHERE batches.stream = ? AND quarantined = 0 ORDER BY batches.id LIMIT 1`,
    ),
    waiting: database.prepare<
      [number],
      { hour: number; featureSet: number; firstSeq: number; rows: number; bytes: number; committedAtMs: number }
    >(
      `SELECT hour, feature_set AS featureSet, first_seq AS firstSeq, rows, bytes, committed_at_ms AS committedAtMs
       FROM blocks WHERE stream = ? AND ${notQuarantined} ORDER BY first_seq`,
    ),
    files: database.prepare<[number], FileSettings>('SELECT format, folder FROM streams WHERE id = ?'),
    seal: database.prepare<[Range & { stream: number; name: string }]>(
      `INSERT INTO batches (stream, feature_set, hour, first_seq, last_seq, rows, format, folder, name)
       VALUES (@stream, @featureSet, @hour, @firstSeq, @lastSeq, @rows, @format, @folder, @name)`,
    ),
    name: database.prepare('UPDATE batches SET name = ? WHERE id = ?'),
    blockIds: database.prepare<[{ id: number }], number>(`SELECT id ${blocksOfBatch} ORDER BY first_seq`).pluck(),
    packed: database.prepare<[number], Buffer>('SELECT packed FROM blocks WHERE id = ?').pluck(),
    batchBytes: database
      .prepare<[{ id: number }], number>(
        `SELECT (SELECT coalesce(sum(bytes), 0) ${blocksOfBatch}) FROM batches WHERE id = @id`,
      )
      .pluck(),
    addUploaded: database.prepare(
      'UPDATE streams SET uploaded = uploaded + ? WHERE id = (SELECT stream FROM batches WHERE id = ?)',
    ),
    deleteBlocks: database.prepare<[{ id: number }]>(`DELETE ${blocksOfBatch}`),
    addBytes: database.prepare('UPDATE buffer SET bytes = bytes + ?'),
    refuse: database.prepare('UPDATE batches SET refusals = refusals + 1, quarantined = ? WHERE id = ?'),
    deleteBatch: database.prepare('DELETE FROM batches WHERE id = ?'),
  };
}
