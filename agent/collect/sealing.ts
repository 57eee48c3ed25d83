import type Database from 'better-sqlite3';
import type { CollectFormat, FileSettings } from '../../shared/collect/file-settings.ts';
import { type FeatureSet, featureSetSchema } from './feature-set.ts';
import type { Payload } from './payload.ts';
import { type SealLimits, type SealOptions, type SealRange, SealRanges } from './seal-range.ts';
import type { Designation, StreamIdentity } from './stream.ts';

/** A sealed range of one stream: recorded before it is sent, so that it has the same name and bytes however often it is. */
export interface Batch extends FileSettings {
  readonly id: number;
  readonly stream: StreamIdentity;
  readonly features: FeatureSet;
  readonly bufferId: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Rows in the file; with those that were dropped, as many as the range is long. */
  readonly rows: number;
  /** What was dropped of the range: `evicted:120,thinned:7`. */
  readonly dropped: string;
  /** Ranges of the stream that storage refused before: `1-50,90-99`. */
  readonly aside: string;
  readonly name: string;
  /** How often storage has refused it. */
  readonly refusals: number;
}

/** A batch that storage refused so often is put aside: it would be refused for ever, and others wait behind it. */
const refusalsMax = 5;

/** The draining side of a buffer: seals ranges, reads them, and deletes what storage has acknowledged. */
export class Sealing {
  readonly #database: Database.Database;
  readonly #ranges: SealRanges;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database.Database) {
    this.#database = database;
    this.#ranges = new SealRanges(database);
    this.#statements = prepare(database);
  }

  /** Gives the streams that have something to send, each with the number of its newest row. */
  streams(): { id: number; lastSeq: number }[] {
    return this.#statements.streams.all();
  }

  /** Says whether a stream has more than fits into one file. */
  hasBacklog(stream: number, { rowsMax, bytesMax }: SealLimits): boolean {
    const { rows, bytes } = this.#statements.waiting.get(stream) ?? { rows: 0, bytes: 0 };
    return rows > rowsMax || bytes > bytesMax;
  }

  /** Gives the stream's next batch that was sealed before, behind the given one, and is not put aside. */
  sealedAfter(stream: number, batchId: number): Batch | undefined {
    const row = this.#statements.sealedAfter.get(stream, batchId);
    return row && toBatch(row);
  }

  /**
   * Seals the stream's next batch.
   * @returns undefined when nothing is due
   */
  seal(stream: number, options: SealOptions): Batch | undefined {
    const { insert, sealed, setName, setBatch } = this.#statements;
    return this.#database
      .transaction(() => {
        const range = this.#ranges.take(stream, options);
        if (range === undefined) return undefined;
        const { lastInsertRowid } = insert.run({ ...range, stream });
        const row = sealed.get(lastInsertRowid);
        if (row === undefined) throw new Error(`The batch of stream ${stream} was not recorded`);
        const { id, firstSeq, lastSeq } = row;
        setBatch.run({ id, stream, firstSeq, lastSeq });
        const name = blobName(row);
        setName.run(name, id);
        return toBatch({ ...row, name });
      })
      .immediate();
  }

  /** Reads the packed blocks of a batch, in order. */
  *blocks(batch: Batch): Generator<Uint8Array> {
    for (const id of this.#statements.blockIds.all(batch.id)) {
      const packed = this.#statements.packed.get(id);
      if (packed === undefined) throw new Error(`Block ${id} of the sealed batch "${batch.name}" is gone`);
      yield packed;
    }
  }

  /** Reads what the rows of a batch point to, one after the other. */
  *payloads(batch: Batch): Generator<Omit<Payload, 'correlationId'>> {
    for (const id of this.#statements.payloadIds.all(batch.id)) {
      const payload = this.#statements.payload.get(id);
      if (payload === undefined) throw new Error(`Payload ${id} of the sealed batch "${batch.name}" is gone`);
      yield payload;
    }
  }

  /** Deletes the rows of a batch that storage has, and counts them as uploaded; a second time it does nothing. */
  acknowledge(batch: Batch): void {
    const { deleteBlocks, addBytes, addUploaded, deleteBatch, batchBytes } = this.#statements;
    this.#database
      .transaction(() => {
        const bytes = batchBytes.get(batch.id);
        if (bytes === undefined) return;
        addUploaded.run(batch.rows, batch.id);
        deleteBlocks.run(batch.id);
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

  /**
   * Takes all batches that were put aside back into the queue, to be tried anew.
   * @returns their rows
   */
  release(): number {
    return this.#database
      .transaction(() => {
        const rows = this.#statements.quarantinedRows.get() ?? 0;
        this.#statements.release.run();
        return rows;
      })
      .immediate();
  }

  /** Gives the disk space of deleted rows back, a little at a time, and shortens the write-ahead log. */
  tidy(): void {
    this.#database.pragma('incremental_vacuum(256)');
    this.#database.pragma('wal_checkpoint(PASSIVE)');
  }
}

interface BatchRow extends SealRange, Omit<StreamIdentity, 'designation'> {
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
    dropped: row.dropped,
    aside: row.aside,
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

function fileExtension(format: CollectFormat): string {
  return format === 'csv-2018' ? 'csv' : format;
}

/** The tables are STRICT, so the columns have the types that are named here. */
function prepare(database: Database.Database) {
  const batch = `
    SELECT batches.id, workspace, service, model, version, designation, buffer.id AS bufferId, features, hour,
      feature_set AS featureSet, first_seq AS firstSeq, last_seq AS lastSeq, rows, dropped, aside, name, refusals,
      batches.format, batches.folder
    FROM batches JOIN streams ON streams.id = batches.stream
      JOIN feature_sets ON feature_sets.id = batches.feature_set JOIN buffer`;
  return {
    streams: database.prepare<[], { id: number; lastSeq: number }>(
      `SELECT id, next_seq - 1 AS lastSeq FROM streams
       WHERE EXISTS (SELECT 1 FROM blocks WHERE blocks.stream = streams.id AND batch IS NULL)
         OR EXISTS (SELECT 1 FROM losses WHERE losses.stream = streams.id)
         OR EXISTS (SELECT 1 FROM batches WHERE batches.stream = streams.id AND quarantined = 0)
       ORDER BY id`,
    ),
    waiting: database.prepare<[number], { rows: number; bytes: number }>(
      `SELECT coalesce(sum(rows), 0) AS rows, coalesce(sum(bytes), 0) AS bytes
       FROM blocks WHERE stream = ? AND batch IS NULL`,
    ),
    sealedAfter: database.prepare<[number, number], BatchRow>(
      `${batch} WHERE batches.stream = ? AND quarantined = 0 AND batches.id > ? ORDER BY batches.id LIMIT 1`,
    ),
    sealed: database.prepare<[number | bigint], BatchRow>(`${batch} WHERE batches.id = ?`),
    insert: database.prepare<[SealRange & { stream: number }]>(
      `INSERT INTO batches
         (stream, feature_set, hour, first_seq, last_seq, rows, dropped, aside, format, folder, name)
       VALUES (@stream, @featureSet, @hour, @firstSeq, @lastSeq, @rows, @dropped, @aside, @format, @folder, '')`,
    ),
    setName: database.prepare('UPDATE batches SET name = ? WHERE id = ?'),
    setBatch: database.prepare<[{ id: number; stream: number; firstSeq: number; lastSeq: number }]>(
      `UPDATE blocks SET batch = @id
       WHERE stream = @stream AND batch IS NULL AND first_seq BETWEEN @firstSeq AND @lastSeq`,
    ),
    blockIds: database.prepare<[number], number>('SELECT id FROM blocks WHERE batch = ? ORDER BY first_seq').pluck(),
    packed: database.prepare<[number], Buffer>('SELECT bytes FROM packed WHERE block = ?').pluck(),
    payloadIds: database
      .prepare<[number], number>(
        `SELECT payloads.rowid FROM payloads JOIN blocks ON blocks.id = block WHERE batch = ? ORDER BY payloads.rowid`,
      )
      .pluck(),
    payload: database.prepare<[number], Omit<Payload, 'correlationId'>>(
      'SELECT file, content_type AS contentType, content FROM payloads WHERE rowid = ?',
    ),
    batchBytes: database
      .prepare<[number], number>(
        `SELECT (SELECT coalesce(sum(bytes), 0) FROM blocks WHERE batch = batches.id) FROM batches WHERE id = ?`,
      )
      .pluck(),
    addUploaded: database.prepare(
      'UPDATE streams SET uploaded = uploaded + ? WHERE id = (SELECT stream FROM batches WHERE id = ?)',
    ),
    deleteBlocks: database.prepare('DELETE FROM blocks WHERE batch = ?'),
    addBytes: database.prepare('UPDATE buffer SET bytes = bytes + ?'),
    refuse: database.prepare('UPDATE batches SET refusals = refusals + 1, quarantined = ? WHERE id = ?'),
    quarantinedRows: database
      .prepare<[], number>('SELECT coalesce(sum(rows), 0) FROM batches WHERE quarantined = 1')
      .pluck(),
    release: database.prepare('UPDATE batches SET quarantined = 0, refusals = 0 WHERE quarantined = 1'),
    deleteBatch: database.prepare('DELETE FROM batches WHERE id = ?'),
  };
}
