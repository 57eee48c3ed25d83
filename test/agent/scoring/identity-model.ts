import type { TensorType } from '../../../shared/model/signature.ts';

/** Element types by ONNX's numbers (onnx.proto, TensorProto.DataType). */
const elementTypes: Record<TensorType, number> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
};

/** Makes an ONNX file of one Identity node, `x` to `y`: what goes in comes out, whatever its type. */
export function identityModel(type: TensorType, shape: readonly (number | string)[]): Uint8Array {
  const dimensions = shape.map((size) => bytes(1, typeof size === 'number' ? number(1, size) : text(2, size)));
  const tensorType = Buffer.concat([number(1, elementTypes[type]), bytes(2, Buffer.concat(dimensions))]);
  const value = (name: string): Buffer => Buffer.concat([text(1, name), bytes(2, bytes(1, tensorType))]);
  const node = Buffer.concat([text(1, 'x'), text(2, 'y'), text(4, 'Identity')]);
  const graph = Buffer.concat([bytes(1, node), text(2, 'identity'), bytes(11, value('x')), bytes(12, value('y'))]);
  return Buffer.concat([number(1, 9), bytes(7, graph), bytes(8, Buffer.concat([text(1, ''), number(2, 19)]))]);
}

/** The three kinds of protobuf field that this takes: a number, bytes, text. */
function number(field: number, value: number): Buffer {
  return Buffer.from([...varint(field << 3), ...varint(value)]);
}

function bytes(field: number, value: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([...varint((field << 3) | 2), ...varint(value.length)]), value]);
}

function text(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value));
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}
