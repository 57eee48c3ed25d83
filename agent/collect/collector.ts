import type { DroppedRows, PackedBlock } from './buffer.ts';
import type { ColumnSettings } from './column-rules.ts';
import { isSampled } from './correlation-hash.ts';
import { featuresOf, rowsIn } from './feature-set.ts';
import type { DropReason } from './losses.ts';
import { blockBytesMax, OpenStream } from './open-stream.ts';
import { type CollectedPayload, type Payload, payloadColumn } from './payload.ts';
import { partsOf, type RequestPart } from './request-parts.ts';
import type { RequestIds } from './row-block.ts';
import { type Designation, designations, type StreamIdentity } from './stream.ts';
import type { Tensor } from './tensor.ts';

/** What was scored, or what was answered, in one request. */
export interface ScoredTensors extends RequestIds {
  readonly model: string;
  readonly version: number;
  readonly designation: Designation;
  readonly tensors: readonly Tensor[];
  /** Binary values of the one row that this is then. @default none */
  readonly payloads?: readonly CollectedPayload[];
}

/** What goes to the thread that commits. */
export interface CommitRequest {
  readonly blocks: readonly PackedBlock[];
  readonly drops: readonly DroppedRows[];
}

/** What the thread that commits answers, once for each request, when the rows are on the disk. */
export interface CommitReceipt {
  readonly rows: number;
  readonly bytes: number;
  /** Rows that did not get there, because the thread ended; they are named in the ledger. @default 0 */
  readonly droppedRows?: number;
}

/** The way to the thread that commits. */
export interface CommitChannel {
  /** Hands a request over; the bytes of its blocks are moved, not copied. */
  post(request: CommitRequest): void;
  /** Calls back at each receipt. */
  onReceipt(listener: (receipt: CommitReceipt) => void): void;
}

/** The settings of a {@link Collector}. */
export interface CollectorOptions {
  readonly channel: CommitChannel;
  /** `<subscription>/<resource group>/<workspace>`. */
  readonly workspace: string;
  readonly service: string;
  /** Bytes that may wait for their commit; rows beyond are dropped, as `overload`. @default 16 MiB */
  readonly pendingBytesMax?: number;
  /** Which requests are collected, and what of them. @default all, all */
  readonly settings?: ColumnSettings & { readonly sampleRate: number };
}

/**
 * How long a row waits in memory until it is handed on to be committed: a millisecond for each row that was handed on last, within
 * these. Few rows are durable at once; many share a commit, which takes as much processor time as scoring some requests.
 */
const flushAfterMs = { least: 5, most: 100 };

/** What is finished is handed on without waiting when it is this much. */
const finishedBytesMax = 1024 * 1024;

/** A row of more columns than this is no row of a table. */
const columnsMax = 16_384;

/** Feature sets that are packed side by side; beyond that, shapes change so often that blocks stay small anyway. */
const openStreamsMax = 64;

/**
 * Takes what was scored, on the request path: packs it into blocks and hands them to the thread that commits. It never
 * waits and never throws for what it cannot keep: that is counted as dropped, with its reason.
 */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #pendingBytesMax: number;
  readonly #sampleRate: number;
  readonly #streams = new Map<string, OpenStream>();
  /** The stream that the last rows of a designation came for; that of the next ones is nearly always the same. */
  readonly #latest: Partial<Record<Designation, OpenStream>> = {};
  /** What is handed on next. */
  #finished: PackedBlock[] = [];
  #finishedBytes = 0;
  #drops: DroppedRows[] = [];
  #pendingBytes = 0;
  #pendingRequests = 0;
  #timer: NodeJS.Timeout | undefined;
  #flushAfterMs = flushAfterMs.least;
  #committedRows = 0;
  #droppedRows = 0;
  #onIdle: (() => void)[] = [];

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#pendingBytesMax = options.pendingBytesMax ?? 16 * 1024 * 1024;
    this.#sampleRate = options.settings?.sampleRate ?? 1;
    options.channel.onReceipt((receipt) => this.#settle(receipt));
  }

  /** Rows that are on the disk, and rows that were dropped here. */
  get counts(): { readonly committed: number; readonly dropped: number } {
    return { committed: this.#committedRows, dropped: this.#droppedRows };
  }

  /**
   * Takes the tensors as rows, copying them.
   * @returns whether the request is in the sample
   */
  collect(scored: ScoredTensors): boolean {
    if (!isSampled(scored.correlationId, this.#sampleRate)) return false;
    const request = requestOf(scored);
    const { rows, tensors } = request;
    if (rows === 0) return true;
    const stream = this.#streamOf(scored, request);
    if (stream.columns > columnsMax) this.#drop(stream.identity, { reason: 'too-wide', rows });
    else {
      const kept = stream.rules === undefined ? request : { ...request, tensors: stream.rules.apply(tensors, rows) };
      for (const part of partsOf(kept, blockBytesMax)) this.#take(stream, scored, part);
    }
    this.#timer ??= setTimeout(() => this.flush(), this.#flushAfterMs);
    return true;
  }

  /** Hands on what waits. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const stream of this.#streams.values()) stream.finish(this.#onFinished);
    if (this.#streams.size > openStreamsMax) this.#forgetStreams();
    this.#post();
  }

  /**
   * Hands on what waits, and waits until all of it is on the disk.
   * @returns false when that is not so in time
   */
  async close(timeoutMs: number): Promise<boolean> {
    this.flush();
    if (this.#pendingRequests === 0) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), timeoutMs);
    this.#onIdle.push(() => resolve(true));
    return await promise.finally(() => clearTimeout(timer));
  }

  #take(stream: OpenStream, ids: RequestIds, part: RequestPart): void {
    if (this.#pendingBytes > this.#pendingBytesMax) {
      this.#drop(stream.identity, { reason: 'overload', rows: part.rows });
      return;
    }
    stream.append(ids, part, this.#onFinished);
    if (this.#finishedBytes >= finishedBytesMax) this.#post();
  }

  readonly #onFinished = (block: PackedBlock): void => {
    const bytes = blockBytes(block);
    this.#finished.push(block);
    this.#finishedBytes += bytes;
    this.#pendingBytes += bytes;
  };

  /** Hands on what is finished. */
  #post(): void {
    if (this.#finished.length === 0 && this.#drops.length === 0) return;
    const rows = this.#finished.reduce((sum, block) => sum + block.rows, 0);
    this.#flushAfterMs = Math.min(flushAfterMs.most, Math.max(flushAfterMs.least, rows));
    this.#pendingRequests += 1;
    this.#options.channel.post({ blocks: this.#finished, drops: this.#drops });
    this.#finished = [];
    this.#finishedBytes = 0;
    this.#drops = [];
  }

  #settle(receipt: CommitReceipt): void {
    this.#pendingBytes -= receipt.bytes;
    this.#pendingRequests -= 1;
    this.#committedRows += receipt.rows;
    this.#droppedRows += receipt.droppedRows ?? 0;
    if (this.#pendingRequests > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #drop(stream: StreamIdentity, loss: { readonly reason: DropReason; readonly rows: number }): void {
    this.#droppedRows += loss.rows;
    const last = this.#drops.at(-1);
    // Losses come in bursts of one kind: one entry for a burst keeps the list short.
    if (last?.stream === stream && last.reason === loss.reason) {
      this.#drops[this.#drops.length - 1] = { ...last, rows: last.rows + loss.rows };
    } else this.#drops.push({ stream, ...loss });
  }

  #streamOf(scored: ScoredTensors, { tensors, rows }: RequestPart): OpenStream {
    const { model, version, designation } = scored;
    const latest = this.#latest[designation];
    if (latest?.takes(scored, tensors, rows) === true) return latest;
    const features = featuresOf(tensors, rows);
    const key = JSON.stringify([designation, version, model, features]);
    let stream = this.#streams.get(key);
    if (stream === undefined) {
      const { workspace, service, settings } = this.#options;
      stream = new OpenStream({ workspace, service, model, version, designation }, features, settings);
      this.#streams.set(key, stream);
    }
    this.#latest[designation] = stream;
    return stream;
  }

  #forgetStreams(): void {
    this.#streams.clear();
    for (const designation of designations) delete this.#latest[designation];
  }
}

/** Counts what a block takes while it waits. */
export function blockBytes({ packed, payloads = [] }: PackedBlock): number {
  return payloads.reduce((sum, { content }) => sum + content.byteLength, packed.byteLength);
}

/** Sees what was scored as rows; payloads become columns of them. */
function requestOf({ tensors, payloads, correlationId }: ScoredTensors): RequestPart {
  if (payloads === undefined || payloads.length === 0) return { rows: rowsIn(tensors), tensors, payloads: noPayloads };
  const made = payloads.map((payload) => payloadColumn(payload, correlationId));
  const all = [...tensors, ...made.map(({ column }) => column)];
  return { rows: rowsIn(all), tensors: all, payloads: made.flatMap(({ payload }) => payload ?? []) };
}

const noPayloads: readonly Payload[] = [];
