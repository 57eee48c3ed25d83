import type { TensorSpec, TensorType } from '../../shared/model/signature.ts';
import { type ByteRange, type ProtobufFile } from './protobuf-file.ts';

// Field numbers: onnx.proto3 of ONNX 1.18, https://github.com/onnx/onnx/blob/v1.18.0/onnx/onnx.proto3
const valueInfoProto = { name: 1, type: 2 } as const;
/** The kinds of value that `TypeProto` has, as people say them. */
const typeProto: Readonly<Record<number, string>> = {
  1: 'a tensor',
  4: 'a sequence',
  5: 'a map',
  7: 'an opaque value',
  8: 'a sparse tensor',
  9: 'an optional value',
};
const tensorKind = 1;
const sequenceKind = 4;
const mapKind = 5;
const sequenceProto = { element: 1 } as const;
const tensorTypeProto = { elementType: 1, shape: 2 } as const;
const shapeProto = { dimension: 1 } as const;
const dimensionProto = { value: 1, parameter: 2 } as const;

/** `TensorProto.DataType` by its number, as far as the scoring server can take it from a client or give it to one. */
const elementTypes: Readonly<Record<number, TensorType>> = {
  1: 'float32',
  2: 'uint8',
  3: 'int8',
  4: 'uint16',
  5: 'int16',
  6: 'int32',
  7: 'int64',
  8: 'string',
  9: 'bool',
  10: 'float16',
  11: 'float64',
  12: 'uint32',
  13: 'uint64',
};
const otherElementTypes: Readonly<Record<number, string>> = {
  14: 'complex64',
  15: 'complex128',
  16: 'bfloat16',
  17: 'float8e4m3fn',
  18: 'float8e4m3fnuz',
  19: 'float8e5m2',
  20: 'float8e5m2fnuz',
  21: 'uint4',
  22: 'int4',
  23: 'float4e2m1',
};

/** An input or output that cannot be served, and why: `is a sequence of maps, a tensor was wanted`. */
export interface TensorProblem {
  readonly name: string;
  readonly problem: string;
}

/** Reads an input or output of a graph (`ValueInfoProto`). */
export function readTensor(file: ProtobufFile, value: ByteRange): TensorSpec | TensorProblem {
  const name = textOf(file, value, valueInfoProto.name);
  if (name === '') return { name, problem: 'has no name' };
  const type = lastField(file, value, valueInfoProto.type);
  const kind = type && lastKind(file, type);
  if (kind === undefined) return { name, problem: 'has no type, a tensor was wanted' };
  if (kind.number !== tensorKind)
    return { name, problem: `is ${kindText(file, kind.number, kind)}, a tensor was wanted` };
  return readTensorType(file, name, kind);
}

function readTensorType(file: ProtobufFile, name: string, type: ByteRange): TensorSpec | TensorProblem {
  const number = Number(lastField(file, type, tensorTypeProto.elementType)?.integer ?? 0n);
  const element = elementTypes[number];
  if (element === undefined) {
    const found = otherElementTypes[number] ?? `the unknown type ${number}`;
    return { name, problem: `has elements of ${found}, one of ${Object.values(elementTypes).join(', ')} was wanted` };
  }
  const shape = lastField(file, type, tensorTypeProto.shape);
  if (shape === undefined) return { name, problem: 'has no shape, a number of dimensions was wanted' };
  return { name, type: element, shape: readShape(file, shape) };
}

function readShape(file: ProtobufFile, shape: ByteRange): (number | string)[] {
  return [...file.fields(shape)]
    .filter((field) => field.number === shapeProto.dimension)
    .map((dimension) => {
      const value = lastField(file, dimension, dimensionProto.value);
      if (value !== undefined) {
        // Some converters write -1 or 0 for what may be of any size.
        return value.integer > 0n ? Number(value.integer) : '?';
      }
      return textOf(file, dimension, dimensionProto.parameter) || '?';
    });
}

/** Names a kind of value with what it holds: scikit-learn's ZipMap gives "a sequence of maps". */
function kindText(file: ProtobufFile, kind: number, range: ByteRange): string {
  const text = typeProto[kind] ?? `a value of the unknown kind ${kind}`;
  const element = kind === sequenceKind ? lastField(file, range, sequenceProto.element) : undefined;
  const inner = element && lastKind(file, element);
  return inner?.number === mapKind ? `${text} of maps` : text;
}

function lastKind(file: ProtobufFile, type: ByteRange): (ByteRange & { readonly number: number }) | undefined {
  return [...file.fields(type)].findLast((field) => field.delimited && field.number in typeProto);
}

function lastField(
  file: ProtobufFile,
  message: ByteRange,
  number: number,
): (ByteRange & { integer: bigint }) | undefined {
  return [...file.fields(message)].findLast((field) => field.number === number);
}

function textOf(file: ProtobufFile, message: ByteRange, number: number): string {
  const field = lastField(file, message, number);
  return field === undefined ? '' : file.text(field);
}
