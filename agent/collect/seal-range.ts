import type Database from 'better-sqlite3';
import type { CollectFolder, FileSettings } from '../../shared/collect/file-settings.ts';
import { type DropReason, type Loss, Losses } from './losses.ts';

/** When rows become a file: as soon as there are enough of them, or they have waited long enough. */
export interface SealLimits {
  readonly rowsMax: number;
  /** Packed bytes. */
  readonly bytesMax: number;
  readonly ageMsMax: number;
}

/** Which rows are to be sealed. */
export interface SealOptions {
  readonly limits: SealLimits;
  /** Seals what there is, however little. */
  readonly all: boolean;
  /** The end of what waits that is taken from. */
  readonly end: 'oldest' | 'newest';
  /** Leaves what begins behind this number. @default nothing */
  readonly beginsUpTo?: number;
  readonly nowMs: number;
}

/** A range of a stream that one file accounts for: each number of it is a row of the file, or was dropped for a reason. */
export interface SealRange extends FileSettings {
  /** Where the folder begins, in hours since 1970. */
  readonly hour: number;
  readonly featureSet: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly rows: number;
  /** What the range has of losses: `evicted:120,thinned:7`; `rows` and these are as many as the range is long. */
  readonly dropped: string;
  /** Ranges of the stream that storage refuses: `1-50,90-99`, the first of them. */
  readonly aside: string;
}

interface WaitingBlock {
  readonly hour: number;
  readonly featureSet: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly rows: number;
  readonly bytes: number;
  readonly committedAtMs: number;
}

interface Span {
  readonly firstSeq: number;
  readonly lastSeq: number;
}

/** Ranges that are named as put aside; a list that is longer would not fit into a blob's metadata. */
const asideMax = 20;

const hourMs = 3_600_000;

/** Chooses what the next file of a stream accounts for. Whoever calls is in a transaction. */
export class SealRanges {
  readonly #losses: Losses;
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database.Database) {
    this.#losses = new Losses(database);
    this.#statements = prepare(database);
  }

  /**
   * Takes the next range: from now on it is accounted for, and its losses are told.
   * @returns undefined when nothing is due
   */
  take(stream: number, options: SealOptions): SealRange | undefined {
    const files = this.#statements.files.get(stream);
    const { beginsUpTo = Number.POSITIVE_INFINITY } = options;
    const gaps = this.#gaps(stream).filter(({ firstSeq }) => firstSeq <= beginsUpTo);
    const gap = options.end === 'oldest' ? gaps[0] : gaps.at(-1);
    if (files === undefined || gap === undefined) return undefined;
    const chosen = this.#choose(stream, { ...options, ...files, gap });
    // A gap that holds nothing but losses is told by a file without rows, when it can grow no more or all is to be told.
    if (chosen === undefined && !(options.all || gaps.length > 1)) return undefined;
    if (chosen !== undefined && !chosen.due) return undefined;
    const range = chosen ?? { ...gap, rows: 0, thinned: 0, ...this.#empty(options.nowMs, files.folder) };
    const { hour, featureSet, firstSeq, lastSeq, rows } = range;
    const dropped = totals(this.#losses.take({ stream, firstSeq, lastSeq }), range.thinned);
    this.#account(stream, range);
    return { ...files, hour, featureSet, firstSeq, lastSeq, rows, dropped, aside: this.#aside(stream) };
  }

  /** Takes blocks from one end on while they share folder and feature set, up to the limits. */
  #choose(
    stream: number,
    options: SealOptions & { readonly gap: Span; readonly folder: CollectFolder },
  ): (Span & { hour: number; featureSet: number; rows: number; thinned: number; due: boolean }) | undefined {
    const { limits, all, nowMs, end, gap, folder } = options;
    const { firstSeq, lastSeq } = gap;
    let [rows, thinned, bytes, oldestMs] = [0, 0, 0, nowMs];
    let first: WaitingBlock | undefined;
    let next: WaitingBlock | undefined;
    for (const block of this.#statements[end].iterate(stream, firstSeq, lastSeq)) {
      first ??= block;
      const differs =
        folderStart(block.hour, folder) !== folderStart(first.hour, folder) || block.featureSet !== first.featureSet;
      const tooMuch = rows > 0 && (rows + block.rows > limits.rowsMax || bytes + block.bytes > limits.bytesMax);
      if (differs || tooMuch) {
        next = block;
        break;
      }
      rows += block.rows;
      thinned += block.lastSeq - block.firstSeq + 1 - block.rows;
      bytes += block.bytes;
      oldestMs = Math.min(oldestMs, block.committedAtMs);
    }
    if (first === undefined) return undefined;
    // Losses between these blocks and the next ones belong to this range.
    const span =
      end === 'oldest'
        ? { firstSeq, lastSeq: next === undefined ? lastSeq : next.firstSeq - 1 }
        : { firstSeq: next === undefined ? firstSeq : next.lastSeq + 1, lastSeq };
    // A clock that was set back must not keep rows for ever.
    const due = all || next !== undefined || nowMs - oldestMs >= limits.ageMsMax || first.committedAtMs > nowMs;
    return { ...span, hour: folderStart(first.hour, folder), featureSet: first.featureSet, rows, thinned, due };
  }

  /** Gives the ranges that no file accounts for yet, in order. */
  #gaps(stream: number): Span[] {
    const gaps: Span[] = [];
    let from = 1;
    for (const { firstSeq, lastSeq } of this.#statements.accounted.all(stream)) {
      if (firstSeq > from) gaps.push({ firstSeq: from, lastSeq: firstSeq - 1 });
      from = lastSeq + 1;
    }
    const lastSeq = this.#statements.lastSeq.get(stream) ?? 0;
    if (lastSeq >= from) gaps.push({ firstSeq: from, lastSeq });
    return gaps;
  }

  /** Adds a range to those that are accounted for; neighbours become one, so that there are few. */
  #account(stream: number, { firstSeq, lastSeq }: Span): void {
    const { accounted, removeAccounted, addAccounted } = this.#statements;
    const all = accounted.all(stream);
    const before = all.find((span) => span.lastSeq === firstSeq - 1);
    const after = all.find((span) => span.firstSeq === lastSeq + 1);
    for (const span of [before, after]) if (span !== undefined) removeAccounted.run(stream, span.firstSeq);
    addAccounted.run(stream, before?.firstSeq ?? firstSeq, after?.lastSeq ?? lastSeq);
  }

  #aside(stream: number): string {
    return this.#statements.quarantined
      .all(stream, asideMax)
      .map(({ firstSeq, lastSeq }) => `${firstSeq}-${lastSeq}`)
      .join(',');
  }

  #empty(nowMs: number, folder: CollectFolder): { readonly hour: number; readonly featureSet: number } {
    this.#statements.noFeatures.run();
    const featureSet = this.#statements.noFeaturesId.get() ?? 0;
    return { hour: folderStart(Math.floor(nowMs / hourMs), folder), featureSet };
  }
}

function totals(losses: readonly Loss[], thinned: number): string {
  const rows = new Map<DropReason, number>();
  for (const { reason, firstSeq, lastSeq } of losses) {
    rows.set(reason, (rows.get(reason) ?? 0) + lastSeq - firstSeq + 1);
  }
  if (thinned > 0) rows.set('thinned', (rows.get('thinned') ?? 0) + thinned);
  return [...rows]
    .map(([reason, count]) => `${reason}:${count}`)
    .toSorted()
    .join(',');
}

/** Gives the first hour of the folder that an hour is in. */
function folderStart(hour: number, folder: CollectFolder): number {
  return folder === 'hour' ? hour : hour - (hour % 24);
}

/** The tables are STRICT, so the columns have the types that are named here. */
function prepare(database: Database.Database) {
  const waiting = (order: 'ASC' | 'DESC'): Database.Statement<[number, number, number], WaitingBlock> =>
    database.prepare(
      `SELECT hour, feature_set AS featureSet, first_seq AS firstSeq, last_seq AS lastSeq, rows, bytes,
         committed_at_ms AS committedAtMs
       FROM blocks WHERE stream = ? AND batch IS NULL AND first_seq BETWEEN ? AND ? ORDER BY first_seq ${order}`,
    );
  return {
    oldest: waiting('ASC'),
    newest: waiting('DESC'),
    files: database.prepare<[number], FileSettings>('SELECT format, folder FROM streams WHERE id = ?'),
    lastSeq: database.prepare<[number], number>('SELECT next_seq - 1 FROM streams WHERE id = ?').pluck(),
    accounted: database.prepare<[number], Span>(
      'SELECT first_seq AS firstSeq, last_seq AS lastSeq FROM accounted WHERE stream = ? ORDER BY first_seq',
    ),
    addAccounted: database.prepare('INSERT INTO accounted (stream, first_seq, last_seq) VALUES (?, ?, ?)'),
    removeAccounted: database.prepare('DELETE FROM accounted WHERE stream = ? AND first_seq = ?'),
    quarantined: database.prepare<[number, number], Span>(
      `SELECT first_seq AS firstSeq, last_seq AS lastSeq FROM batches
       WHERE stream = ? AND quarantined = 1 ORDER BY first_seq LIMIT ?`,
    ),
    noFeatures: database.prepare(`INSERT OR IGNORE INTO feature_sets (features) VALUES ('[]')`),
    noFeaturesId: database.prepare<[], number>(`SELECT id FROM feature_sets WHERE features = '[]'`).pluck(),
  };
}
