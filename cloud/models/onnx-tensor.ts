import type { TensorSpec, TensorType } from '../../shared/model/signature.ts';
import { type ByteRange, type ProtobufFile } from './protobuf-file.ts';

// Field numbers: onnx.proto3 of ONNX 1.18, https://github.com/onnx/onnx/blob/v1.18.0/onnx/onnx.proto3
const valueInfoProto = { name: 1, type: 2 } as const;
/** The kinds of value that `TypeProto` has, in ONNX's words. */
const typeProto: Readonly<Record<number, string>> = {
  1: 'tensor',
  4: 'seq',
  5: 'map',
  7: 'opaque',
  8: 'sparse_tensor',
  9: 'optional',
};
const tensorKind = 1;
const mapKind = 5;
const opaqueKind = 7;
const sparseKind = 8;
/** Of sequences and optional values; of tensors too, where it is a number. */
const elementProto = { element: 1 } as const;
const mapProto = { key: 1, value: 2 } as const;
/** How far a type is told; nobody nests them deeper. */
const typeDepthMax = 8;
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

/** An input or output that cannot be served, and why: `is seq(map(int64, tensor(float32))), a tensor was wanted`. */
export interface TensorProblem {
  readonly name: string;
  readonly problem: string;
}

/** An input or output whose shape the file does not tell; it may be found by inference. */
export type ShapelessTensor = Pick<TensorSpec, 'name' | 'type'> & { readonly shape: undefined };

/** Reads an input or output of a graph (`ValueInfoProto`). */
export function readTensor(file: ProtobufFile, value: ByteRange): TensorSpec | ShapelessTensor | TensorProblem {
  const name = textOf(file, value, valueInfoProto.name);
  if (name === '') return { name, problem: 'has no name' };
  const type = lastField(file, value, valueInfoProto.type);
  const kind = type && lastKind(file, type);
  if (kind === undefined) return { name, problem: 'has no type, a tensor was wanted' };
  if (kind.number !== tensorKind) return { name, problem: `is ${typeText(file, type)}, a tensor was wanted` };
  return readTensorType(file, name, kind);
}

function readTensorType(
  file: ProtobufFile,
  name: string,
  type: ByteRange,
): TensorSpec | ShapelessTensor | TensorProblem {
  const number = Number(lastField(file, type, tensorTypeProto.elementType)?.integer ?? 0n);
  const element = elementTypes[number];
  if (element === undefined) {
    return {
      name,
      problem: `has elements of ${elementText(number)}, one of ${Object.values(elementTypes).join(', ')} was wanted`,
    };
  }
  const shape = lastField(file, type, tensorTypeProto.shape);
  return { name, type: element, shape: shape && readShape(file, shape) };
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

/** Writes a type with what it holds: scikit-learn's ZipMap gives `seq(map(int64, tensor(float32)))`. */
function typeText(file: ProtobufFile, type: ByteRange | undefined, depth = 0): string {
  const kind = type && lastKind(file, type);
  if (kind === undefined || depth > typeDepthMax) return '…';
  const text = typeProto[kind.number] ?? 'unknown';
  if (kind.number === opaqueKind) return text;
  const element = lastField(file, kind, kind.number === mapKind ? mapProto.key : elementProto.element);
  if (kind.number === tensorKind || kind.number === sparseKind) return `${text}(${elementText(element?.integer)})`;
  if (kind.number !== mapKind) return `${text}(${typeText(file, element, depth + 1)})`;
  const value = typeText(file, lastField(file, kind, mapProto.value), depth + 1);
  return `${text}(${elementText(element?.integer)}, ${value})`;
}

function elementText(type: number | bigint = 0): string {
  const number = Number(type);
  return elementTypes[number] ?? otherElementTypes[number] ?? `the unknown type ${number}`;
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
