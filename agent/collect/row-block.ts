import type { Feature, FeatureSet } from './feature-set.ts';
import { allocate, bytesOf, elementBytes, elementsIn, isText, type Tensor, type TensorData } from './tensor.ts';

/** The rows of one request: they share its ids and its time, and stay in order. */
export interface RequestRows {
  readonly rows: number;
  readonly scoredAtMs: number;
  readonly correlationId: string;
  readonly requestId: string;
  /** One a feature, in the feature set's order; each holds `rows × width` elements. */
  readonly values: readonly TensorData[];
}

/**
 * Rows of one stream and feature set on their way to the buffer, packed into bytes.
 *
 * A request's entry: `u32 rows, f64 scoredAtMs, u16 length and text of the correlation id, the same of the request id`,
 * then each feature's elements: raw and little-endian, or for strings `u32 length and text` each.
 */
export class RowBlock {
  #bytes: Buffer;
  #length = 0;
  #rows = 0;

  constructor(capacity = 8 * 1024) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity);
  }

  get rows(): number {
    return this.#rows;
  }

  get byteLength(): number {
    return this.#length;
  }

  /** Appends the rows of one request, copying them. */
  append(entry: Omit<RequestRows, 'values'>, tensors: readonly Pick<Tensor, 'data'>[]): void {
    this.#reserve(16 + (entry.correlationId.length + entry.requestId.length) * 3);
    this.#length = this.#bytes.writeUInt32LE(entry.rows, this.#length);
    this.#length = this.#bytes.writeDoubleLE(entry.scoredAtMs, this.#length);
    this.#id(entry.correlationId);
    this.#id(entry.requestId);
    for (const { data } of tensors) {
      if (isText(data)) for (const text of data) this.#text(text);
      else this.#raw(bytesOf(data));
    }
    this.#rows += entry.rows;
  }

  /** Gives the packed bytes, in a buffer of their own that can be transferred; the block must not be used after it. */
  finish(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#bytes.buffer as ArrayBuffer, 0, this.#length);
  }

  #id(text: string): void {
    const written = this.#bytes.write(text, this.#length + 2, 'utf8');
    this.#bytes.writeUInt16LE(written, this.#length);
    this.#length += 2 + written;
  }

  #text(text: string): void {
    this.#reserve(4 + text.length * 3);
    const written = this.#bytes.write(text, this.#length + 4, 'utf8');
    this.#bytes.writeUInt32LE(written, this.#length);
    this.#length += 4 + written;
  }

  #raw(bytes: Uint8Array): void {
    this.#reserve(bytes.byteLength);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.byteLength;
  }

  #reserve(bytes: number): void {
    const wanted = this.#length + bytes;
    if (wanted <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(wanted, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

/** Reads back, request by request, what a {@link RowBlock} packed. */
export function* requestsIn(packed: Uint8Array, features: FeatureSet): Generator<RequestRows> {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  let at = 0;
  const id = (): string => {
    const start = at + 2;
    at = start + bytes.readUInt16LE(at);
    return bytes.toString('utf8', start, at);
  };
  const valuesOf = (feature: Feature, rows: number): TensorData => {
    const count = rows * feature.width;
    if (feature.type === 'string') {
      return Array.from({ length: count }, () => {
        const start = at + 4;
        at = start + bytes.readUInt32LE(at);
        return bytes.toString('utf8', start, at);
      });
    }
    if (count === 0) return allocate(feature.type, 0);
    const start = at;
    at += count * elementBytes(feature.type);
    return elementsIn(feature.type, bytes.subarray(start, at));
  };
  while (at < bytes.length) {
    const rows = bytes.readUInt32LE(at);
    const scoredAtMs = bytes.readDoubleLE(at + 4);
    at += 12;
    const correlationId = id();
    const requestId = id();
    yield { rows, scoredAtMs, correlationId, requestId, values: features.map((feature) => valuesOf(feature, rows)) };
  }
}
