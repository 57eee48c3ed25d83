import type { BatchSender } from './batch-sender.ts';
import type { SealLimits } from './seal-range.ts';
import type { Batch, Sealing } from './sealing.ts';
import type { StreamIdentity } from './stream.ts';

/** What one drain sent of one stream. */
export interface StreamDrain extends StreamIdentity {
  readonly rows: number;
  readonly blobs: number;
  readonly bytes: number;
}

/** The settings of {@link StreamTurns}. */
export interface StreamTurnsOptions {
  readonly sealing: Sealing;
  readonly sender: BatchSender;
  readonly order: 'oldest-first' | 'newest-first';
  /** Sends every row that is there, however little. */
  readonly all: boolean;
  readonly now: () => number;
}

/** About 10 MB of CSV a file at most; a minute until rows are on their way. */
const limits: SealLimits = { rowsMax: 50_000, bytesMax: 4 * 1024 * 1024, ageMsMax: 60_000 };

/**
 * Sends one stream, a turn at a time: what was sealed before, then where there is a backlog the newest rows, then the backlog. It ends
 * with the rows that were there at its beginning, so that a drain ends; fresh ones that come meanwhile go when they are due.
 */
export class StreamTurns {
  readonly #stream: { readonly id: number; readonly lastSeq: number };
  readonly #options: StreamTurnsOptions;
  #sealedId = 0;
  #first = true;
  #sent: StreamDrain | undefined;

  constructor(stream: { readonly id: number; readonly lastSeq: number }, options: StreamTurnsOptions) {
    this.#stream = stream;
    this.#options = options;
  }

  /** What was sent; undefined where nothing was. */
  get sent(): StreamDrain | undefined {
    return this.#sent;
  }

  /** @returns whether there is more to send */
  async turn(): Promise<boolean> {
    const { sealing } = this.#options;
    const { id } = this.#stream;
    const sealed = sealing.sealedAfter(id, this.#sealedId);
    if (sealed !== undefined) {
      await this.#send(sealed);
      return true;
    }
    const fresh = sealing.hasBacklog(id, limits)
      ? this.#seal('newest', { all: this.#options.all && this.#first })
      : undefined;
    this.#first = false;
    if (fresh !== undefined) await this.#send(fresh);
    const backlog = this.#sealBacklog();
    if (backlog !== undefined) await this.#send(backlog);
    return backlog !== undefined;
  }

  #sealBacklog(): Batch | undefined {
    const { order, all } = this.#options;
    return this.#seal(order === 'newest-first' ? 'newest' : 'oldest', { all, beginsUpTo: this.#stream.lastSeq });
  }

  #seal(end: 'oldest' | 'newest', which: { readonly all: boolean; readonly beginsUpTo?: number }): Batch | undefined {
    const { sealing, now } = this.#options;
    return sealing.seal(this.#stream.id, { ...which, end, limits, nowMs: now() });
  }

  async #send(batch: Batch): Promise<void> {
    this.#sealedId = batch.id;
    const bytes = await this.#options.sender.send(batch);
    if (bytes === undefined) return;
    const { rows, blobs, bytes: before } = this.#sent ?? { rows: 0, blobs: 0, bytes: 0 };
    this.#sent = { ...batch.stream, rows: rows + batch.rows, blobs: blobs + 1, bytes: before + bytes };
  }
}
