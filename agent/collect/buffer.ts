import type Database from 'better-sqlite3';
import { defaultFiles, type FileSettings } from '../../shared/collect/file-settings.ts';
import type { FeatureSet } from './feature-set.ts';
import { type DropReason, Losses } from './losses.ts';
import type { Payload } from './payload.ts';
import { type Quota, Room } from './room.ts';
import { type StreamIdentity, streamKey } from './stream.ts';
import type { DrainSettings } from './collect-settings.ts';

/** A finished block of one stream. */
export interface PackedBlock {
  readonly stream: StreamIdentity;
  readonly features: FeatureSet;
  /** Hours since 1970 (UTC) of all its rows. */
  readonly hour: number;
  readonly rows: number;
  readonly packed: Uint8Array;
  /** What its rows point to. @default nothing */
  readonly payloads?: readonly Payload[];
}

/** Rows that were lost before they came here. */
export interface DroppedRows {
  readonly stream: StreamIdentity;
  readonly reason: DropReason;
  readonly rows: number;
}

/** Names what one writer hands over at one time, so that it is known after a crash whether it arrived. */
export interface WriterRequest {
  /** Random id of the writer. */
  readonly writer: string;
  /** Counts up. */
  readonly number: number;
}

/** The settings of a {@link CollectBuffer}. */
export interface CollectBufferOptions {
  readonly quota: Quota;
  /**
   * How the rows of its streams become files; a later writer's word holds for what is not sealed.
   * @default CSV, a folder a day
   */
  readonly files?: FileSettings;
  /** How the buffer is drained; it is kept in it, for the agent. @default oldest first, as fast as it goes */
  readonly drain?: DrainSettings;
  /** @default the machine's clock */
  readonly nowMs?: () => number;
}

/** The longest time between two transactions that counts as age: a clock that jumps must not make rows old. */
const ageStepMsMax = 600_000;

/** After this long a writer that is gone will not ask any more what arrived. */
const writerForgottenMs = 86_400_000;

/**
 * The writing side of a buffer.
 *
 * Invariants, at any moment and after a crash at any line, for each stream:
 * - collected = uploaded + rows of its blocks + its drops;
 * - every sequence number below the next is in exactly one of: a block, a loss, a range that a batch accounts for;
 * - rows of a sealed batch are deleted by its acknowledgement alone.
 */
export class CollectBuffer {
  readonly #database: Database.Database;
  readonly #files: FileSettings;
  readonly #nowMs: () => number;
  readonly #room: Room;
  readonly #losses: Losses;
  readonly #streamIds = new Map<string, number>();
  readonly #featureSetIds = new Map<string, number>();
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database.Database, options: CollectBufferOptions) {
    this.#database = database;
    this.#files = options.files ?? defaultFiles;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#room = new Room(database, options.quota);
    this.#losses = new Losses(database);
    this.#statements = prepare(database);
    database.prepare('UPDATE buffer SET drain = ?').run(JSON.stringify(options.drain ?? {}));
    database.prepare('DELETE FROM writers WHERE wrote_at_ms < ?').run(this.#nowMs() - writerForgottenMs);
  }

  /** Writes blocks and losses in one transaction; they are on the disk when it returns. */
  append(blocks: readonly PackedBlock[], drops: readonly DroppedRows[], requests: readonly WriterRequest[] = []): void {
    const write = this.#database.transaction(() => {
      const nowMs = this.#nowMs();
      const ageMs = this.#statements.tick.get({ nowMs, stepMsMax: ageStepMsMax }) ?? 0;
      this.#room.begin();
      this.#room.expire(ageMs);
      for (const block of blocks) this.#appendBlock(block, { nowMs, ageMs });
      for (const { stream, reason, rows } of drops) this.#dropNew(this.#streamId(stream), { reason, rows });
      for (const { writer, number } of requests) this.#statements.arrived.run(writer, number, nowMs);
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

  /** Gives the number of the last request of a writer that arrived; 0 where none did. */
  lastArrived(writer: string): number {
    return this.#statements.lastArrived.get(writer) ?? 0;
  }

  /** Closes the file. */
  close(): void {
    this.#database.close();
  }

  #appendBlock(block: PackedBlock, at: { readonly nowMs: number; readonly ageMs: number }): void {
    const { rows, packed, hour, payloads = [] } = block;
    const stream = this.#streamId(block.stream);
    const bytes = payloads.reduce((sum, { content }) => sum + content.byteLength, packed.byteLength);
    const { designation } = block.stream;
    const reason = this.#room.make(designation, bytes);
    if (reason !== undefined) {
      this.#dropNew(stream, { reason, rows });
      return;
    }
    const { insertBlock, insertPacked, insertPayload, addBytes } = this.#statements;
    const { lastInsertRowid: id } = insertBlock.run({
      ...at,
      ...this.#numbers(stream, rows),
      stream,
      featureSet: this.#featureSetId(block.features),
      hour,
      rows,
      bytes,
      yields: this.#room.yieldsOf(designation),
    });
    insertPacked.run(id, packed);
    for (const { correlationId, file, contentType, content } of payloads) {
      insertPayload.run(id, correlationId, file, contentType, content);
    }
    addBytes.run(bytes);
  }

  #dropNew(stream: number, drop: { reason: DropReason; rows: number }): void {
    this.#losses.count(stream, drop);
    this.#losses.keep({ stream, ...this.#numbers(stream, drop.rows), reason: drop.reason });
  }

  /** Collects so many rows: each gets its sequence number, kept or not. */
  #numbers(stream: number, rows: number): { readonly firstSeq: number; readonly lastSeq: number } {
    const firstSeq = this.#statements.nextSeq.get({ rows, stream }) ?? 0;
    return { firstSeq, lastSeq: firstSeq + rows - 1 };
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
      `INSERT INTO blocks
         (stream, feature_set, hour, first_seq, last_seq, rows, bytes, yields, committed_at_ms, committed_age_ms)
       VALUES (@stream, @featureSet, @hour, @firstSeq, @lastSeq, @rows, @bytes, @yields, @nowMs, @ageMs)`,
    ),
    insertPacked: database.prepare('INSERT INTO packed (block, bytes) VALUES (?, ?)'),
    insertPayload: database.prepare(
      'INSERT INTO payloads (block, correlation_id, file, content_type, content) VALUES (?, ?, ?, ?, ?)',
    ),
    addBytes: database.prepare('UPDATE buffer SET bytes = bytes + ?'),
    tick: database
      .prepare<[{ nowMs: number; stepMsMax: number }], number>(
        `UPDATE buffer SET ticked_at_ms = @nowMs,
           age_ms = age_ms + iif(ticked_at_ms = 0, 0, max(0, min(@nowMs - ticked_at_ms, @stepMsMax)))
         RETURNING age_ms`,
      )
      .pluck(),
    arrived: database.prepare(
      `INSERT INTO writers (id, last_request, wrote_at_ms) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET last_request = excluded.last_request, wrote_at_ms = excluded.wrote_at_ms`,
    ),
    lastArrived: database.prepare<[string], number>('SELECT last_request FROM writers WHERE id = ?').pluck(),
  };
}
