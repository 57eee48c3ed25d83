import type Database from 'better-sqlite3';

/** Why rows were not kept. */
export type DropReason =
  | 'collector-failed'
  | 'damaged'
  | 'disk-full'
  | 'evicted'
  | 'expired'
  | 'overload'
  | 'quota'
  | 'thinned'
  | 'too-wide';

/** Rows of a stream that are lost, all numbers of the range. */
export interface Loss {
  readonly stream: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly reason: DropReason;
}

/**
 * What was lost, in two forms: totals by reason, for ever, and the ranges that no blob has told yet. The next batch that is
 * sealed beside a range takes it along, so that storage alone explains every gap.
 */
export class Losses {
  readonly #statements: ReturnType<typeof prepare>;

  constructor(database: Database.Database) {
    this.#statements = prepare(database);
  }

  /** Adds to the totals of a stream. */
  count(stream: number, loss: { readonly reason: DropReason; readonly rows: number }): void {
    if (loss.rows > 0) this.#statements.count.run(stream, loss.reason, loss.rows);
  }

  /** Keeps a range until a batch tells it; an empty one is none. */
  keep({ stream, firstSeq, lastSeq, reason }: Loss): void {
    if (lastSeq < firstSeq) return;
    const before = this.#statements.before.get(stream, firstSeq);
    if (before?.lastSeq === firstSeq - 1 && before.reason === reason) {
      this.#statements.extend.run(lastSeq, stream, before.firstSeq);
    } else this.#statements.insert.run(stream, firstSeq, lastSeq, reason);
  }

  /** Takes what lies in a range out of what is kept: what reaches beyond is cut at its ends. */
  take(range: Omit<Loss, 'reason'>): readonly Loss[] {
    const { stream, firstSeq, lastSeq } = range;
    const taken: Loss[] = [];
    for (const loss of this.#statements.touching.all(stream, lastSeq, firstSeq)) {
      this.#statements.remove.run(stream, loss.firstSeq);
      const cut = { ...loss, firstSeq: Math.max(firstSeq, loss.firstSeq), lastSeq: Math.min(lastSeq, loss.lastSeq) };
      this.keep({ ...loss, lastSeq: cut.firstSeq - 1 });
      this.keep({ ...loss, firstSeq: cut.lastSeq + 1 });
      taken.push(cut);
    }
    return taken;
  }
}

/** The tables are STRICT, so the columns have the types that are named here. */
function prepare(database: Database.Database) {
  const columns = 'stream, first_seq AS firstSeq, last_seq AS lastSeq, reason';
  return {
    count: database.prepare(
      `INSERT INTO drops (stream, reason, rows) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET rows = rows + excluded.rows`,
    ),
    before: database.prepare<[number, number], Loss>(
      `SELECT ${columns} FROM losses WHERE stream = ? AND first_seq < ? ORDER BY first_seq DESC LIMIT 1`,
    ),
    extend: database.prepare('UPDATE losses SET last_seq = ? WHERE stream = ? AND first_seq = ?'),
    insert: database.prepare('INSERT INTO losses (stream, first_seq, last_seq, reason) VALUES (?, ?, ?, ?)'),
    touching: database.prepare<[number, number, number], Loss>(
      `SELECT ${columns} FROM losses WHERE stream = ? AND first_seq <= ? AND last_seq >= ? ORDER BY first_seq`,
    ),
    remove: database.prepare('DELETE FROM losses WHERE stream = ? AND first_seq = ?'),
  };
}
