import type { Ledger } from '../collect/ledger.ts';
import type { StreamIdentity } from '../collect/stream.ts';
import type { UploadDestination } from '../collect/upload-destination.ts';

/** What stays free for rows when no image fits any more, in bytes: what the image store leaves. */
const reserveBytes = 64 * 1024 * 1024;
/** Most rows of one blob. */
const batchRowsMax = 10_000;

/** Rows that go, or went, under one name. */
interface Batch {
  readonly name: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly content: Uint8Array;
}

/**
 * What the modules of a light device have collected.
 *
 * Invariants: rows have sequence numbers without gaps; a batch once made keeps its name and content until it is stored, so that sending it
 * again stores nothing twice; collected = uploaded + buffered + dropped.
 */
export class LightBuffer {
  readonly #identity: StreamIdentity;
  readonly #prefix: string;
  #collected = 0;
  #uploaded = 0;
  #dropped = 0;
  #batch: Batch | undefined;
  /** Batches that were sent and not taken, and bytes that were. */
  failures = 0;
  bytes = 0;

  constructor(of: { readonly identity: StreamIdentity }) {
    this.#identity = of.identity;
    const { workspace, service, model, version, designation } = of.identity;
    this.#prefix = `modeldata/${workspace}/${service}/${model}/${version}/${designation}`;
  }

  /** Takes the rows up to a number of all that there ever were; a full disk has room for some. */
  collectTo(rows: number, { isDiskFull }: { readonly isDiskFull: boolean }): void {
    const more = Math.max(0, rows - this.#collected);
    const room = isDiskFull ? Math.max(0, Math.floor((reserveBytes - this.#bufferedBytes) / rowBytes)) : more;
    this.#collected += more;
    this.#dropped += Math.max(0, more - room);
  }

  /** Sends what there is, and gives how many rows that were. Throws what the destination throws; the rows stay then. */
  async drain(destination: UploadDestination, day: string, signal: AbortSignal): Promise<number> {
    const before = this.#uploaded;
    while (!signal.aborted) {
      this.#batch ??= this.#seal(day);
      if (this.#batch === undefined) break;
      const { name, firstSeq, lastSeq, content } = this.#batch;
      const metadata = { firstseq: String(firstSeq), lastseq: String(lastSeq) };
      try {
        await destination.upload({ name, content, contentType: 'application/x-ndjson', metadata }, signal);
      } catch (error) {
        this.failures += 1;
        throw error;
      }
      // A cut in between: the device does not know that it is stored, and sends it again.
      if (signal.aborted || this.#batch?.name !== name) break;
      this.#uploaded += lastSeq - firstSeq + 1;
      this.bytes += content.length;
      this.#batch = undefined;
    }
    return this.#uploaded - before;
  }

  /** What became of all rows. */
  get ledger(): Ledger {
    const dropped = this.#dropped === 0 ? {} : { 'disk-full': this.#dropped };
    const [collected, uploaded] = [this.#collected, this.#uploaded];
    const stream = { ...this.#identity, collected, uploaded, buffered: this.#buffered, quarantined: 0, dropped };
    return { bufferedBytes: this.#bufferedBytes, streams: collected === 0 ? [] : [stream], damaged: [] };
  }

  get #buffered(): number {
    return this.#collected - this.#dropped - this.#uploaded;
  }

  get #bufferedBytes(): number {
    return this.#buffered * rowBytes;
  }

  #seal(day: string): Batch | undefined {
    const rows = Math.min(this.#buffered, batchRowsMax);
    if (rows === 0) return undefined;
    const [firstSeq, lastSeq] = [this.#uploaded + 1, this.#uploaded + rows];
    const lines = Array.from({ length: rows }, (_, index) => rowOf(firstSeq + index));
    const name = `${this.#prefix}/${day}/${String(firstSeq).padStart(12, '0')}-${String(lastSeq).padStart(12, '0')}.jsonl`;
    return { name, firstSeq, lastSeq, content: Buffer.from(lines.join('')) };
  }
}

/** One row, as long as all are. */
function rowOf(seq: number): string {
  return `{"seq":${String(seq).padStart(12)},"x":[0.1,0.2,0.3,0.4]}\n`;
}

const rowBytes = rowOf(0).length;
