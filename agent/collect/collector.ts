import type { DroppedRows, PackedBlock } from './buffer.ts';
import type { CollectSettings } from './collect-settings.ts';
import { ColumnRules } from './column-rules.ts';
import { isSampled } from './correlation-hash.ts';
import { type FeatureSet, rowShapeOf } from './feature-set.ts';
import type { DropReason } from './losses.ts';
import { type CollectedPayload, type Payload, payloadColumn } from './payload.ts';
import { RowBlock } from './row-block.ts';
import type { Designation, StreamIdentity } from './stream.ts';
import { isText, type Tensor } from './tensor.ts';

/** What was scored, or what was answered, in one request. */
export interface ScoredTensors {
  readonly model: string;
  readonly version: number;
  readonly designation: Designation;
  readonly tensors: readonly Tensor[];
  /** Binary values of the one row that this is then. @default none */
  readonly payloads?: readonly CollectedPayload[];
  /** Joins the rows of one request over designations. */
  readonly correlationId: string;
  readonly requestId: string;
  /** Milliseconds since 1970 (UTC). */
  readonly scoredAtMs: number;
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
  readonly settings?: Pick<CollectSettings, 'sampleRate' | 'redact' | 'columns'>;
}

/** How long a row may wait in memory until it is handed on to be committed. */
const flushAfterMs = 5;

/** A block is handed on when it holds this much: large enough that a commit costs little a row. */
const blockRowsMax = 256;
const blockBytesMax = 64 * 1024;

/** A row of more columns than this is no row of a table. */
const columnsMax = 16_384;

/** Feature sets that are packed side by side; beyond that, shapes change so often that blocks stay small anyway. */
const openStreamsMax = 64;

const hourMs = 3_600_000;

interface OpenStream {
  readonly identity: StreamIdentity;
  readonly features: FeatureSet;
  /** @default nothing is renamed or left out */
  readonly rules: ColumnRules | undefined;
  block: RowBlock | undefined;
  payloads: Payload[];
  hour: number;
}

/** A part of a request that fits into a block. */
interface Part extends Omit<ScoredTensors, 'payloads'> {
  readonly rows: number;
  readonly payloads: readonly Payload[];
}

/**
 * Takes what was scored, on the request path: packs it into blocks and hands them to the thread that commits. It never
 * waits and never throws for what it cannot keep: that is counted as dropped, with its reason.
 */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #pendingBytesMax: number;
  readonly #sampleRate: number;
  readonly #streams = new Map<string, OpenStream>();
  #drops: DroppedRows[] = [];
  #pendingBytes = 0;
  #pendingRequests = 0;
  #timer: NodeJS.Timeout | undefined;
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
    const { tensors, payloads } = withPayloads(scored);
    const { rows, features } = rowShapeOf(tensors);
    if (rows === 0) return true;
    const stream = this.#streamOf(scored, features);
    const columns = features.reduce((sum, { width }) => sum + width, 0);
    if (columns > columnsMax) this.#drop(stream.identity, { reason: 'too-wide', rows });
    else {
      const kept = stream.rules === undefined ? tensors : stream.rules.apply(tensors, rows);
      for (const part of partsOf({ ...scored, tensors: kept }, rows)) this.#take(stream, { ...part, payloads });
    }
    this.#timer ??= setTimeout(() => this.flush(), flushAfterMs);
    return true;
  }

  /** Hands on what waits. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const blocks: PackedBlock[] = [];
    for (const stream of this.#streams.values()) {
      const block = finishBlock(stream);
      if (block !== undefined) blocks.push(block);
    }
    if (this.#streams.size > openStreamsMax) this.#streams.clear();
    if (blocks.length > 0 || this.#drops.length > 0) this.#post(blocks);
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

  #take(stream: OpenStream, scored: Part): void {
    if (this.#pendingBytes <= this.#pendingBytesMax) this.#pack(stream, scored);
    else this.#drop(stream.identity, { reason: 'overload', rows: scored.rows });
  }

  #pack(stream: OpenStream, scored: Part): void {
    const hour = Math.floor(scored.scoredAtMs / hourMs);
    // A file holds rows of one folder, and the shortest time of a folder is an hour.
    if (stream.block !== undefined && stream.hour !== hour) this.#handOn(stream);
    stream.hour = hour;
    stream.block ??= new RowBlock();
    stream.block.append(scored, scored.tensors);
    stream.payloads.push(...scored.payloads);
    if (stream.payloads.length > 0 || stream.block.rows >= blockRowsMax || stream.block.byteLength >= blockBytesMax)
      this.#handOn(stream);
  }

  #handOn(stream: OpenStream): void {
    const block = finishBlock(stream);
    if (block !== undefined) this.#post([block]);
  }

  #post(blocks: PackedBlock[]): void {
    for (const block of blocks) this.#pendingBytes += blockBytes(block);
    this.#pendingRequests += 1;
    this.#options.channel.post({ blocks, drops: this.#drops });
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

  #streamOf(scored: ScoredTensors, features: FeatureSet): OpenStream {
    const { model, version, designation } = scored;
    let key = `${designation}\n${version}\n${model}`;
    for (const { name, type, width } of features) key += `\n${name}\n${type}\n${width}`;
    const known = this.#streams.get(key);
    if (known !== undefined) return known;
    const { workspace, service, settings } = this.#options;
    const identity = { workspace, service, model, version, designation };
    const rules = settings && ColumnRules.of(features, settings);
    const kept = rules?.features ?? features;
    const opened: OpenStream = { identity, features: kept, rules, block: undefined, payloads: [], hour: 0 };
    this.#streams.set(key, opened);
    return opened;
  }
}

/** Cuts a large request into parts of about a block, so that memory stays bounded here and wherever blocks are read. */
function* partsOf(scored: ScoredTensors, rows: number): Generator<ScoredTensors & { readonly rows: number }> {
  const bytes = scored.tensors.reduce((sum, { data }) => sum + (isText(data) ? data.length * 16 : data.byteLength), 0);
  const rowsMax = Math.max(1, Math.floor(blockBytesMax / Math.max(1, bytes / rows)));
  if (rows <= rowsMax) {
    yield { ...scored, rows };
    return;
  }
  for (let from = 0; from < rows; from += rowsMax) {
    const count = Math.min(rowsMax, rows - from);
    yield {
      ...scored,
      rows: count,
      tensors: scored.tensors.map((tensor) => rowsOf(tensor, { from, count, of: rows })),
    };
  }
}

function rowsOf(tensor: Tensor, part: { readonly from: number; readonly count: number; readonly of: number }): Tensor {
  const width = tensor.data.length / part.of;
  const [start, end] = [part.from * width, (part.from + part.count) * width];
  const data = isText(tensor.data) ? tensor.data.slice(start, end) : tensor.data.subarray(start, end);
  return { ...tensor, shape: [part.count, ...tensor.shape.slice(1)], data };
}

/** Ends the stream's block, if it has one. */
function finishBlock(stream: OpenStream): PackedBlock | undefined {
  const { block, identity, features, hour, payloads } = stream;
  stream.block = undefined;
  stream.payloads = [];
  if (block === undefined) return undefined;
  return { stream: identity, features, hour, rows: block.rows, packed: block.finish(), payloads };
}

/** Counts what a block takes while it waits. */
export function blockBytes({ packed, payloads = [] }: PackedBlock): number {
  return payloads.reduce((sum, { content }) => sum + content.byteLength, packed.byteLength);
}

/** Makes columns of the payloads. */
function withPayloads({ tensors, payloads = [], correlationId }: ScoredTensors): {
  readonly tensors: readonly Tensor[];
  readonly payloads: readonly Payload[];
} {
  if (payloads.length === 0) return { tensors, payloads: [] };
  const made = payloads.map((payload) => payloadColumn(payload, correlationId));
  return {
    tensors: [...tensors, ...made.map(({ column }) => column)],
    payloads: made.flatMap(({ payload }) => payload ?? []),
  };
}
