import type Database from 'better-sqlite3';
import { defaultFiles, type FileSettings } from '../../shared/collect/file-settings.ts';
import type { FeatureSet } from './feature-set.ts';
import { type StreamIdentity, streamKey } from './stream.ts';

/** Why rows were not kept. */
export type DropReason = 'evicted' | 'overload' | 'quota' | 'too-wide' | 'write-failed';

/** A finished block of one stream. */
export interface PackedBlock {
  readonly stream: StreamIdentity;
  readonly features: FeatureSet;
  /** Hours since 1970 (UTC) of all its rows. */
  readonly hour: number;
  readonly rows: number;
  readonly packed: Uint8Array;
}

/** Rows that were lost before they came here. */
export interface DroppedRows {
  readonly stream: StreamIdentity;
  readonly reason: DropReason;
  readonly rows: number;
}

/** How much the buffer may hold, and what happens to what is too much. */
export interface Quota {
  readonly bytesMax: number;
  /** `drop-oldest` makes room for the new, `reject-new` keeps what is there. */
  readonly policy: 'drop-oldest' | 'reject-new';
}

/** The settings of a {@link CollectBuffer}. */
export interface CollectBufferOptions {
  readonly quota: Quota;
  /**
   * How the rows of its streams become files; a later writer's word holds for what is not sealed.
   * @default CSV, a folder a day
   */
  readonly files?: FileSettings;
  /** @default the machine's clock */
  readonly nowMs?: () => number;
}

/**
 * The writing side of a buffer.
 *
 * Invariants, at any moment and after a crash at any line, for each stream:
 * - collected = uploaded + rows of its blocks + its drops;
 * - the blocks of a stream never overlap, and sequence numbers only go up;
 * - rows of a sealed batch are deleted by its acknowledgement alone.
 */
export class CollectBuffer {
  readonly #database: Database.Database;
  readonly #quota: Quota;
  readonly #files: FileSettings;
  readonly #nowMs: () => number;
  readonly #streamIds = new Map<string, number>();
  readonly #featureSetIds = new Map<string, number>();
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database.Database, options: CollectBufferOptions) {
    this.#database = database;
    this.#quota = options.quota;
    this.#files = options.files ?? defaultFiles;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#statements = prepare(database);
  }

  /** Writes blocks and losses in one transaction; they are on the disk when it returns. */
  append(blocks: readonly PackedBlock[], drops: readonly DroppedRows[]): void {
    const write = this.#database.transaction(() => {
      for (const block of blocks) this.#appendBlock(block);
      for (const { stream, reason, rows } of drops) this.#dropNew(this.#streamId(stream), { reason, rows });
    });
    try {
      write.immediate();
    } catch (error) {
      // Ids that the transaction gave are taken back with it.
      this.#streamIds.clear();
      this.#featureSetIds.clear();
      throw error;
    }
  }

  /** Closes the file. */
  close(): void {
    this.#database.close();
  }

  #appendBlock(block: PackedBlock): void {
    const stream = this.#streamId(block.stream);
    const bytes = block.packed.byteLength;
    if (!this.#makeRoom(bytes)) {
      this.#dropNew(stream, { reason: 'quota', rows: block.rows });
      return;
    }
    const { insertBlock, nextSeq, addBytes } = this.#statements;
    const firstSeq = nextSeq.get({ rows: block.rows, stream }) ?? 0;
    const featureSet = this.#featureSetId(block.features);
    insertBlock.run(stream, featureSet, block.hour, firstSeq, block.rows, bytes, this.#nowMs(), block.packed);
    addBytes.run(bytes);
  }

  #makeRoom(bytes: number): boolean {
    const { bytesMax, policy } = this.#quota;
    const { bufferedBytes, oldestBlock, deleteBlock, addBytes, addDrop } = this.#statements;
    let held = bufferedBytes.get() ?? 0;
    if (held + bytes <= bytesMax) return true;
    if (policy === 'reject-new' || bytes > bytesMax) return false;
    while (held + bytes > bytesMax) {
      const oldest = oldestBlock.get();
      if (oldest === undefined) return false;
      deleteBlock.run(oldest.id);
      addBytes.run(-oldest.bytes);
      addDrop.run(oldest.stream, 'evicted', oldest.rows);
      held -= oldest.bytes;
    }
    return true;
  }

  #dropNew(stream: number, drop: { reason: DropReason; rows: number }): void {
    this.#statements.addCollected.run(drop.rows, stream);
    this.#statements.addDrop.run(stream, drop.reason, drop.rows);
  }

  #streamId(identity: StreamIdentity): number {
    const key = streamKey(identity);
    const known = this.#streamIds.get(key);
    if (known !== undefined) return known;
    const { workspace, service, model, version, designation } = identity;
    const columns = [workspace, service, model, version, designation] as const;
    this.#statements.insertStream.run(...columns, this.#files.format, this.#files.folder);
    return remember(this.#streamIds, key, this.#statements.streamId.get(...columns));
  }

  #featureSetId(features: FeatureSet): number {
    const text = JSON.stringify(features);
    const known = this.#featureSetIds.get(text);
    if (known !== undefined) return known;
    this.#statements.insertFeatureSet.run(text);
    return remember(this.#featureSetIds, text, this.#statements.featureSetId.get(text));
  }
}

function remember(ids: Map<string, number>, key: string, id: number | undefined): number {
  if (id === undefined) throw new Error(`No id was given to ${key}`);
  // Ids are never reused, so this is a cache; its bound is what keeps a model of ever new shapes from filling memory.
  if (ids.size >= 1000) ids.clear();
  ids.set(key, id);
  return id;
}

/** The tables are STRICT, so the columns have the types that are named here. */
function prepare(database: Database.Database) {
  return {
    insertStream: database.prepare(
      `INSERT INTO streams (workspace, service, model, version, designation, format, folder) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET format = excluded.format, folder = excluded.folder`,
    ),
    streamId: database
      .prepare<[string, string, string, number, string], number>(
        'SELECT id FROM streams WHERE workspace = ? AND service = ? AND model = ? AND version = ? AND designation = ?',
      )
      .pluck(),
    insertFeatureSet: database.prepare('INSERT OR IGNORE INTO feature_sets (features) VALUES (?)'),
    featureSetId: database.prepare<[string], number>('SELECT id FROM feature_sets WHERE features = ?').pluck(),
    nextSeq: database
      .prepare<[{ rows: number; stream: number }], number>(
        `UPDATE streams SET next_seq = next_seq + @rows, collected = collected + @rows WHERE id = @stream
         RETURNING next_seq - @rows`,
      )
      .pluck(),
    insertBlock: database.prepare(
      `INSERT INTO blocks (stream, feature_set, hour, first_seq, rows, bytes, committed_at_ms, packed)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    bufferedBytes: database.prepare<[], number>('SELECT bytes FROM buffer').pluck(),
    addBytes: database.prepare('UPDATE buffer SET bytes = bytes + ?'),
    oldestBlock: database.prepare<[], { id: number; stream: number; rows: number; bytes: number }>(
      `SELECT id, stream, rows, bytes FROM blocks
       WHERE NOT EXISTS (
         SELECT 1 FROM batches WHERE batches.stream = blocks.stream AND blocks.first_seq <= batches.last_seq)
       ORDER BY id LIMIT 1`,
    ),
    deleteBlock: database.prepare('DELETE FROM blocks WHERE id = ?'),
    addCollected: database.prepare('UPDATE streams SET collected = collected + ? WHERE id = ?'),
    addDrop: database.prepare(
      `INSERT INTO drops (stream, reason, rows) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET rows = rows + excluded.rows`,
    ),
  };
}
