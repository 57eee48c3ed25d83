import { numericArrays, type NumericType } from '../../shared/model/numeric-arrays.ts';
import type { TensorType } from '../../shared/model/signature.ts';

/** What holds a tensor's elements, by its type: `bool` is one byte each, 64-bit integers are BigInt. */
interface TensorDataOf {
  readonly bool: Uint8Array;
  readonly float16: Float16Array;
  readonly float32: Float32Array;
  readonly float64: Float64Array;
  readonly int16: Int16Array;
  readonly int32: Int32Array;
  readonly int64: BigInt64Array;
  readonly int8: Int8Array;
  readonly string: readonly string[];
  readonly uint16: Uint16Array;
  readonly uint32: Uint32Array;
  readonly uint64: BigUint64Array;
  readonly uint8: Uint8Array;
}

/** The elements of a tensor, row-major. */
export type TensorData = TensorDataOf[TensorType];

/** Elements that lie in memory as numbers do: all but strings. */
export type NumericData = Exclude<TensorData, readonly string[]>;

/** A tensor with its values; a shape of `[]` is a scalar of one element. */
export interface Tensor {
  readonly name: string;
  readonly type: TensorType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Gives the size of one element in bytes. */
export function elementBytes(type: NumericType): number {
  return numericArrays[type].BYTES_PER_ELEMENT;
}

/** Makes room for so many elements, all zero. */
export function allocate(type: NumericType, length: number): NumericData {
  const bytes = length * elementBytes(type);
  if (bytes > sharedBytesMax) return new numericArrays[type](length);
  if (slabAt + bytes > slabBytes) {
    slab = new ArrayBuffer(slabBytes);
    slabAt = 0;
  }
  const data = new numericArrays[type](slab, slabAt, length);
  slabAt += Math.ceil(bytes / alignment) * alignment;
  return data;
}

/**
 * Small arrays share memory, as Node's own buffers do: one of its own costs the garbage collector more than what is done with it.
 */
const slabBytes = 64 * 1024;
const sharedBytesMax = 4 * 1024;
/** The largest element has 8 bytes; vector instructions like 64. */
const alignment = 64;
let slab = new ArrayBuffer(slabBytes);
let slabAt = 0;

/** Reads elements from little-endian bytes: a view of them where they are aligned, else a copy. */
export function elementsIn(type: NumericType, bytes: Uint8Array): NumericData {
  const size = elementBytes(type);
  const aligned = bytes.byteOffset % size === 0 ? bytes : Uint8Array.from(bytes);
  // What arrives here came from sockets and SQLite, which never hand out shared memory.
  return new numericArrays[type](aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / size);
}

/** Gives the bytes that hold the elements, little-endian, without a copy. */
export function bytesOf(data: NumericData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Counts the elements of a shape; a scalar has one. */
export function elementCount(shape: readonly number[]): number {
  let elements = 1;
  for (const dimension of shape) elements *= dimension;
  return elements;
}

/** Says whether the elements are strings. */
export function isText(data: TensorData): data is readonly string[] {
  return Array.isArray(data);
}
