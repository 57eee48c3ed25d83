import type { TensorType } from './signature.ts';

/** The types whose elements are numbers of a fixed size. */
export type NumericType = Exclude<TensorType, 'string'>;

/** What holds the elements of a tensor of each type, little-endian as ONNX and the processors here have them. */
export const numericArrays = {
  bool: Uint8Array,
  float16: Float16Array,
  float32: Float32Array,
  float64: Float64Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  int8: Int8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  uint8: Uint8Array,
} as const satisfies Record<NumericType, unknown>;
