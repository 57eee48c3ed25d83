import type { Feature, FeatureSet } from './feature-set.ts';
import { allocate, bytesOf, elementBytes, elementsIn, isText, type Tensor, type TensorData } from './tensor.ts';

/** What all rows of one request share. */
export interface RequestIds {
  /** Joins the rows of one request over designations. */
  readonly correlationId: string;
  readonly requestId: string;
  /** Milliseconds since 1970 (UTC). */
  readonly scoredAtMs: number;
}

/** The rows of one request; they stay in order. */
export interface RequestRows extends RequestIds {
  readonly rows: number;
  /** One a feature, in the feature set's order; each holds `rows × width` elements. */
  readonly values: readonly TensorData[];
}

/** Room that a block starts with. */
const leastBytes = 8 * 1024;
/** Stands for the length of a request id that is the correlation id; a real one is shorter. */
const sameId = 0xffff;

/**
 * Rows of one stream and feature set on their way to the buffer, packed into bytes.
 *
 * A request's entry: `u32 rows, f64 scoredAtMs, u16 length and text of the correlation id, the same of the request id (or 0xffff where it is the
 * same)`, then each feature's elements: raw and little-endian, or for strings `u32 length and text` each.
 */
export class RowBlock {
  #bytes: Buffer;
  #length = 0;
  #rows = 0;

  /** @param likelyBytes how large it will be, as far as one knows */
  constructor(likelyBytes = 0) {
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(leastBytes, likelyBytes + likelyBytes / 8));
  }

  get rows(): number {
    return this.#rows;
  }

  get byteLength(): number {
    return this.#length;
  }

  /** Appends the rows of one request, copying them. */
  append(ids: RequestIds, rows: number, tensors: readonly Pick<Tensor, 'data'>[]): void {
    this.#reserve(16 + (ids.correlationId.length + ids.requestId.length) * 3);
    this.#length = this.#bytes.writeUInt32LE(rows, this.#length);
    this.#length = this.#bytes.writeDoubleLE(ids.scoredAtMs, this.#length);
    this.#id(ids.correlationId);
    if (ids.requestId === ids.correlationId) this.#length = this.#bytes.writeUInt16LE(sameId, this.#length);
    else this.#id(ids.requestId);
    for (const { data } of tensors) {
      if (isText(data)) for (const text of data) this.#text(text);
      else this.#raw(bytesOf(data));
    }
    this.#rows += rows;
  }

  /** Gives the packed bytes, in a buffer of their own that can be transferred; the block must not be used after it. */
  finish(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#bytes.buffer as ArrayBuffer, 0, this.#length);
  }

  #id(text: string): void {
    const start = this.#length + 2;
    const written = this.#ascii(text, start) ? text.length : this.#bytes.write(text, start, 'utf8');
    this.#bytes[start - 2] = written & 0xff;
    this.#bytes[start - 1] = written >> 8;
    this.#length = start + written;
  }

  /** Writes a text where it is ASCII, as ids are: a loop over some characters is faster than a call into Node. */
  #ascii(text: string, start: number): boolean {
    const bytes = this.#bytes;
    for (let at = 0; at < text.length; at += 1) {
      const unit = text.charCodeAt(at);
      if (unit > 127) return false;
      bytes[start + at] = unit;
    }
    return true;
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
    const isSame = bytes.readUInt16LE(at) === sameId;
    if (isSame) at += 2;
    const requestId = isSame ? correlationId : id();
    yield { rows, scoredAtMs, correlationId, requestId, values: features.map((feature) => valuesOf(feature, rows)) };
  }
}
