import { FerryError } from '../../../shared/errors.ts';
import type { TensorType } from '../../../shared/model/signature.ts';
import type { NumericType } from '../../../shared/model/numeric-arrays.ts';
import { allocate, bytesOf, elementsIn } from '../../collect/tensor.ts';
import { readBinary } from '../protocol/binary-tensor.ts';

/** Elements of a tensor in protobuf's own types: one of the lists is filled. 64-bit integers are texts of digits. */
export interface InferTensorContents {
  readonly bool_contents?: readonly boolean[];
  readonly int_contents?: readonly number[];
  readonly int64_contents?: readonly string[];
  readonly uint_contents?: readonly number[];
  readonly uint64_contents?: readonly string[];
  readonly fp32_contents?: readonly number[];
  readonly fp64_contents?: readonly number[];
  readonly bytes_contents?: readonly Uint8Array[];
}

/** Where the elements of each type are; half floats have no place, they are raw. */
const fieldOf = {
  bool: 'bool_contents',
  float16: undefined,
  float32: 'fp32_contents',
  float64: 'fp64_contents',
  int16: 'int_contents',
  int32: 'int_contents',
  int64: 'int64_contents',
  int8: 'int_contents',
  string: 'bytes_contents',
  uint16: 'uint_contents',
  uint32: 'uint_contents',
  uint64: 'uint64_contents',
  uint8: 'uint_contents',
} as const satisfies Record<TensorType, keyof InferTensorContents | undefined>;

/** Says whether the elements of a type can be had as contents. */
export function hasContents(type: TensorType): boolean {
  return fieldOf[type] !== undefined;
}

/**
 * Gives the elements as the binary tensor extension has them.
 * @throws {FerryError} REQUEST_INVALID when they stand in another list than that of the type, or do not fit it
 */
export function contentsToBinary(
  contents: InferTensorContents,
  { name, type }: { readonly name: string; readonly type: TensorType },
): Uint8Array {
  const field = fieldOf[type];
  if (field === undefined) throw invalid(name, `no raw bytes, which ${type} needs`);
  const values = contents[field] ?? [];
  const other = Object.entries(contents).find(([list, found]) => list !== field && (found as unknown[]).length > 0);
  if (other !== undefined) throw invalid(name, `values in "${other[0]}", "${field}" was wanted for ${type}`);
  if (type === 'string') return writeTexts(values as readonly Uint8Array[]);
  const data = allocate(type, values.length);
  for (const [index, value] of values.entries()) {
    const element = type === 'int64' || type === 'uint64' ? BigInt(value as string) : Number(value);
    data[index] = element;
    if (isWhole(type) && data[index] !== element) throw invalid(name, `the value ${element}, which is no ${type}`);
  }
  return bytesOf(data);
}

/** Gives the elements of what the binary tensor extension has. */
export function binaryToContents(bytes: Uint8Array, type: TensorType): InferTensorContents {
  const field = fieldOf[type];
  if (field === undefined) throw new Error(`${type} has no contents`);
  if (type === 'string') {
    const texts = readBinary(bytes, { name: '', type, shape: [] }) as readonly string[];
    return { [field]: texts.map((text) => Buffer.from(text)) };
  }
  const values = Array.from<number | bigint>(elementsIn(type, bytes) as unknown as ArrayLike<number | bigint>);
  if (type === 'bool') return { [field]: values.map((value) => value === 1) };
  return { [field]: type === 'int64' || type === 'uint64' ? values.map(String) : values };
}

/** A number that does not fit an integer type would be wrapped in silence; floats are rounded, as they are meant to be. */
function isWhole(type: NumericType): boolean {
  return !type.startsWith('float');
}

/** Bytes that are no UTF-8 stay what they are, for the reader of the tensor to refuse. */
function writeTexts(texts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(
    texts.flatMap((text) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(text.byteLength);
      return [length, text];
    }),
  );
}

function invalid(name: string, found: string): FerryError {
  return new FerryError('REQUEST_INVALID', `Cannot read the inference request: "${name}" has ${found}`);
}
