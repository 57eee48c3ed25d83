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

/** Bytes that make a model's file too large to be taken for a light one. */
const weightBytes = 5 * 1024 * 1024;

/**
 * Makes an ONNX file of one Identity node, `x` to `y`: what goes in comes out, whatever its type.
 * @param heavy makes the file large
 */
export function identityModel(type: TensorType, shape: readonly (number | string)[], heavy = false): Uint8Array {
  const node = Buffer.concat([text(1, 'x'), text(2, 'y'), text(4, 'Identity')]);
  const graph = [
    bytes(1, node),
    text(2, 'identity'),
    bytes(11, value('x', type, shape)),
    bytes(12, value('y', type, shape)),
  ];
  return modelOf(graph, heavy);
}

/** Makes a large ONNX file of a loop: `n` (a scalar) says how often it goes round, about a microsecond each; `y` is 0. */
export function loopModel(): Uint8Array {
  const body = Buffer.concat([
    bytes(1, Buffer.concat([text(1, 'going'), text(2, 'goOn'), text(4, 'Identity')])),
    bytes(1, Buffer.concat([text(1, 'v'), text(1, 'v'), text(2, 'sum'), text(4, 'Add')])),
    text(2, 'body'),
    bytes(11, value('i', 'int64', [])),
    bytes(11, value('going', 'bool', [])),
    bytes(11, value('v', 'float32', [1])),
    bytes(12, value('goOn', 'bool', [])),
    bytes(12, value('sum', 'float32', [1])),
  ]);
  // AttributeProto: name, g (a graph), type GRAPH.
  const attribute = Buffer.concat([text(1, 'body'), bytes(6, body), number(20, 5)]);
  const zero = Buffer.concat([number(1, 1), number(2, 1), bytes(4, Buffer.alloc(4)), text(8, 'zero')]);
  const loop = Buffer.concat([
    text(1, 'n'),
    text(1, ''),
    text(1, 'zero'),
    text(2, 'y'),
    text(4, 'Loop'),
    bytes(5, attribute),
  ]);
  const graph = [
    bytes(1, loop),
    text(2, 'slow'),
    bytes(5, zero),
    bytes(11, value('n', 'int64', [])),
    bytes(12, value('y', 'float32', [1])),
  ];
  return modelOf(graph, true);
}

function modelOf(graph: readonly Buffer[], heavy: boolean): Uint8Array {
  const padding = heavy ? [text(6, ' '.repeat(weightBytes))] : [];
  return Buffer.concat([
    number(1, 9),
    ...padding,
    bytes(7, Buffer.concat(graph)),
    bytes(8, Buffer.concat([text(1, ''), number(2, 19)])),
  ]);
}

/** A ValueInfoProto. */
function value(name: string, type: TensorType, shape: readonly (number | string)[]): Buffer {
  const dimensions = shape.map((size) => bytes(1, typeof size === 'number' ? number(1, size) : text(2, size)));
  const tensorType = Buffer.concat([number(1, elementTypes[type]), bytes(2, Buffer.concat(dimensions))]);
  return Buffer.concat([text(1, name), bytes(2, bytes(1, tensorType))]);
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
