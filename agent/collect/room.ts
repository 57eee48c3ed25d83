import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import type Database from 'better-sqlite3';
import { isKept } from './correlation-hash.ts';
import { featureSetSchema } from './feature-set.ts';
import { type DropReason, Losses } from './losses.ts';
import { RowBlock, requestsIn } from './row-block.ts';
import type { Designation } from './stream.ts';

/** What happens to rows that are too many: `thin` keeps one request in so many, of all designations the same ones. */
export const quotaPolicies = ['drop-oldest', 'reject-new', 'thin'] as const;

/** What happens to rows that are too many. */
export type QuotaPolicy = (typeof quotaPolicies)[number];

/** How much the buffer may hold, and what happens to what is too much. */
export interface Quota {
  readonly bytesMax: number;
  readonly policy: QuotaPolicy;
  /** Of how many requests `thin` keeps one, each time that there is no room. @default 2 */
  readonly keepOneIn?: number | undefined;
  /** Rows of a lower priority make room first, whatever their policy. @default the quota's policy, priority 0 */
  readonly designations?: Readonly<Partial<Record<Designation, DesignationQuota>>> | undefined;
  /** Age at which rows are dropped; time in which nothing runs does not count. @default never */
  readonly ageMsMax?: number | undefined;
  /** Bytes of the disk that stay free for others. @default 0 */
  readonly diskReserveBytes?: number | undefined;
}

/** What holds for one designation. */
export interface DesignationQuota {
  readonly policy?: QuotaPolicy | undefined;
  /** 0 to 9; the highest is kept longest. */
  readonly priority?: number | undefined;
}

/** So often a block is thinned; what is left of it then is dropped as a whole. */
const thinnedTimesMax = 8;

interface Block {
  readonly id: number;
  readonly stream: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly rows: number;
  readonly bytes: number;
  readonly yields: number;
  readonly thinned: number;
}

/** Makes room in a buffer by its quota. Rows of sealed batches never make room. */
export class Room {
  readonly #database: Database.Database;
  readonly #quota: Quota;
  readonly #folder: string;
  readonly #losses: Losses;
  readonly #statements: ReturnType<typeof prepare>;
  /** How large the buffer may get until the disk is down to its reserve; it is asked once a transaction. */
  #diskBytes: number | undefined;

  constructor(database: Database.Database, quota: Quota) {
    this.#database = database;
    this.#quota = quota;
    this.#folder = dirname(database.name);
    this.#losses = new Losses(database);
    this.#statements = prepare(database);
  }

  /** To be called at the begin of each transaction. */
  begin(): void {
    this.#diskBytes = undefined;
  }

  /** Gives how readily blocks of a designation make room: the lowest first. */
  yieldsOf(designation: Designation): number {
    const { policy, priority } = this.#rulesOf(designation);
    return priority * 2 + (policy === 'reject-new' ? 1 : 0);
  }

  /**
   * Makes room for new rows.
   * @returns why there is none
   */
  make(designation: Designation, bytes: number): DropReason | undefined {
    const { policy, priority } = this.#rulesOf(designation);
    // Its own kind makes room for it only where its policy is not to reject.
    const yieldsMax = priority * 2 - (policy === 'reject-new' ? 1 : 0);
    let held = this.#statements.held.get() ?? 0;
    this.#diskBytes ??= held + this.#growthBytes();
    const diskBytes = this.#diskBytes;
    const limit = Math.min(this.#quota.bytesMax, diskBytes);
    const reason = diskBytes < this.#quota.bytesMax ? 'disk-full' : 'quota';
    if (bytes > limit) return reason;
    while (held + bytes > limit) {
      const victim = this.#statements.victim.get(yieldsMax);
      if (victim === undefined) return reason;
      held -= this.#shrink(victim);
    }
    return undefined;
  }

  /** Drops rows that are older than the quota allows, by the age of the buffer. */
  expire(ageMs: number): void {
    const { ageMsMax } = this.#quota;
    if (ageMsMax === undefined) return;
    for (;;) {
      const oldest = this.#statements.oldest.get();
      if (oldest === undefined || ageMs - oldest.ageMs <= ageMsMax) return;
      this.#drop(oldest, 'expired');
    }
  }

  /** @returns the bytes that it gave */
  #shrink(block: Block): number {
    const designation = this.#statements.designation.get(block.stream) ?? 'inputs';
    const thins = this.#rulesOf(designation).policy === 'thin' && block.thinned < thinnedTimesMax;
    return thins ? this.#thin(block) : this.#drop(block, 'evicted');
  }

  #thin(block: Block): number {
    const { packed, features, update, repack, payloads, removePayload, addBytes } = this.#statements;
    const set = featureSetSchema.parse(JSON.parse(features.get(block.id) ?? '[]'));
    const oneIn = (this.#quota.keepOneIn ?? 2) ** (block.thinned + 1);
    const kept = new RowBlock();
    for (const request of requestsIn(packed.get(block.id) ?? Buffer.alloc(0), set)) {
      if (!isKept(request.correlationId, oneIn)) continue;
      const tensors = request.values.map((data) => ({ data }));
      kept.append(request, request.rows, tensors);
    }
    if (kept.rows === 0) return this.#drop(block, 'thinned');
    let bytes = kept.byteLength;
    for (const payload of payloads.all(block.id)) {
      if (isKept(payload.correlationId, oneIn)) bytes += payload.bytes;
      else removePayload.run(payload.id);
    }
    this.#losses.count(block.stream, { reason: 'thinned', rows: block.rows - kept.rows });
    update.run(kept.rows, bytes, block.thinned + 1, block.id);
    repack.run(kept.finish(), block.id);
    addBytes.run(bytes - block.bytes);
    return block.bytes - bytes;
  }

  /** @returns the bytes that it gave */
  #drop(block: Block, reason: DropReason): number {
    const { stream, firstSeq, lastSeq, rows } = block;
    this.#statements.remove.run(block.id);
    this.#statements.addBytes.run(-block.bytes);
    this.#losses.count(stream, { reason, rows });
    // What was thinned out of the block before has its own reason; which of its numbers that were is of no interest.
    this.#losses.keep({ stream, firstSeq, lastSeq: firstSeq + rows - 1, reason });
    this.#losses.keep({ stream, firstSeq: firstSeq + rows, lastSeq, reason: 'thinned' });
    return block.bytes;
  }

  #rulesOf(designation: Designation): { readonly policy: QuotaPolicy; readonly priority: number } {
    const { policy = this.#quota.policy, priority = 0 } = this.#quota.designations?.[designation] ?? {};
    return { policy, priority };
  }

  /** How much the buffer may still grow: into its own free pages, and into the disk up to the reserve. */
  #growthBytes(): number {
    const { diskReserveBytes } = this.#quota;
    if (diskReserveBytes === undefined) return Number.POSITIVE_INFINITY;
    const { bavail, bsize } = statfsSync(this.#folder);
    const free = Math.max(0, bavail * bsize - diskReserveBytes);
    const [pages, pageBytes] = ['freelist_count', 'page_size'].map((name) =>
      Number(this.#database.pragma(name, { simple: true })),
    );
    return free + (pages ?? 0) * (pageBytes ?? 0);
  }
}

/** The tables are STRICT, so the columns have the types that are named here. */
function prepare(database: Database.Database) {
  const columns = 'id, stream, first_seq AS firstSeq, last_seq AS lastSeq, rows, bytes, yields, thinned';
  return {
    held: database.prepare<[], number>('SELECT bytes FROM buffer').pluck(),
    addBytes: database.prepare('UPDATE buffer SET bytes = bytes + ?'),
    victim: database.prepare<[number], Block>(
      `SELECT ${columns} FROM blocks WHERE batch IS NULL AND yields <= ? ORDER BY yields, thinned, id LIMIT 1`,
    ),
    oldest: database.prepare<[], Block & { readonly ageMs: number }>(
      `SELECT ${columns}, committed_age_ms AS ageMs FROM blocks WHERE batch IS NULL ORDER BY id LIMIT 1`,
    ),
    designation: database.prepare<[number], Designation>('SELECT designation FROM streams WHERE id = ?').pluck(),
    features: database
      .prepare<[number], string>(
        'SELECT features FROM feature_sets WHERE id = (SELECT feature_set FROM blocks WHERE id = ?)',
      )
      .pluck(),
    packed: database.prepare<[number], Buffer>('SELECT bytes FROM packed WHERE block = ?').pluck(),
    payloads: database.prepare<[number], { id: number; correlationId: string; bytes: number }>(
      `SELECT rowid AS id, correlation_id AS correlationId, length(content) AS bytes FROM payloads WHERE block = ?`,
    ),
    removePayload: database.prepare('DELETE FROM payloads WHERE rowid = ?'),
    update: database.prepare('UPDATE blocks SET rows = ?, bytes = ?, thinned = ? WHERE id = ?'),
    repack: database.prepare('UPDATE packed SET bytes = ? WHERE block = ?'),
    remove: database.prepare('DELETE FROM blocks WHERE id = ?'),
  };
}
