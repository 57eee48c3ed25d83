import type { PackedBlock } from './buffer.ts';
import { ColumnRules, type ColumnSettings } from './column-rules.ts';
import { elementsOfRow, type FeatureSet } from './feature-set.ts';
import type { Payload } from './payload.ts';
import type { RequestPart } from './request-parts.ts';
import { type RequestIds, RowBlock } from './row-block.ts';
import type { StreamIdentity } from './stream.ts';
import type { Tensor } from './tensor.ts';

/** A block is finished when it holds this much: large enough that it costs little a row, small enough to make room by. */
const blockRowsMax = 256;
export const blockBytesMax = 64 * 1024;

const hourMs = 3_600_000;

/** Rows of one stream and one set of features on their way to the buffer, packed into blocks. */
export class OpenStream {
  readonly identity: StreamIdentity;
  /** What the settings make of its rows. @default nothing is renamed or left out */
  readonly rules: ColumnRules | undefined;
  /** Elements of one row, before anything is left out. */
  readonly columns: number;
  /** What its requests have. */
  readonly #given: FeatureSet;
  /** What is kept of that. */
  readonly #kept: FeatureSet;
  #block: RowBlock | undefined;
  #payloads: Payload[] = [];
  #hour = 0;
  /** Bytes of its last block: the next one is about as large, and starts with room for it. */
  #lastBytes = 0;

  constructor(identity: StreamIdentity, features: FeatureSet, settings: ColumnSettings | undefined) {
    this.identity = identity;
    this.rules = settings && ColumnRules.of(features, settings);
    this.columns = features.reduce((sum, { width }) => sum + width, 0);
    this.#given = features;
    this.#kept = this.rules?.features ?? features;
  }

  /** Says whether rows of a model with these tensors are its own; the designation is known to be. */
  takes(of: { readonly model: string; readonly version: number }, tensors: readonly Tensor[], rows: number): boolean {
    const { model, version } = this.identity;
    if (of.model !== model || of.version !== version || tensors.length !== this.#given.length) return false;
    for (let at = 0; at < tensors.length; at += 1) {
      const tensor = tensors[at];
      const feature = this.#given[at];
      if (tensor === undefined || feature === undefined) return false;
      if (tensor.name !== feature.name || tensor.type !== feature.type) return false;
      if (elementsOfRow(tensor, rows) !== feature.width) return false;
    }
    return true;
  }

  /**
   * Copies rows of one request, all of one hour.
   * @param onFinished called with each block that is finished by that
   */
  append(ids: RequestIds, { rows, tensors, payloads }: RequestPart, onFinished: (block: PackedBlock) => void): void {
    const hour = Math.floor(ids.scoredAtMs / hourMs);
    // A file holds rows of one folder, and the shortest time of a folder is an hour.
    if (this.#block !== undefined && this.#hour !== hour) this.finish(onFinished);
    this.#hour = hour;
    this.#block ??= new RowBlock(this.#lastBytes);
    this.#block.append(ids, rows, tensors);
    if (payloads.length > 0) this.#payloads.push(...payloads);
    if (this.#payloads.length > 0 || this.#block.rows >= blockRowsMax || this.#block.byteLength >= blockBytesMax)
      this.finish(onFinished);
  }

  /** Ends its block, if it has one. */
  finish(onFinished: (block: PackedBlock) => void): void {
    const block = this.#block;
    if (block === undefined) return;
    const payloads = this.#payloads;
    this.#block = undefined;
    this.#payloads = [];
    this.#lastBytes = block.byteLength;
    const { rows } = block;
    const packed = block.finish();
    onFinished({ stream: this.identity, features: this.#kept, hour: this.#hour, rows, packed, payloads });
  }
}
