import { type Field, message } from '../../../cloud/models/protobuf-message.ts';
import { model, tensorValue } from './onnx-writer.ts';

/** Scale of every quantised tensor of {@link quantizedModel}: a power of two, so that what comes out can be said exactly. */
export const scale = 0.125;

/** Weights of {@link quantizedModel} as integers, `[4, 3]`. */
export const weights = [8, 0, -8, 0, 8, 8, 16, 0, 0, 0, -16, 24];

/**
 * Writes a model that is quantised as runtimes of accelerators want it (QDQ): `y[rows, 3] = relu(x[rows, 4] · weights · scale)`, eighths
 * from -16 to 15.875 all along.
 * @param options.rows a text leaves the dimension open @default 1
 * @param options.softmax puts a Softmax behind it that takes floats
 */
export function quantizedModel({
  rows = 1,
  softmax = false,
}: { rows?: number | string; softmax?: boolean } = {}): Uint8Array {
  const last = softmax ? 'scores' : 'y';
  return model(
    node('QuantizeLinear', ['x', 'scale', 'zero'], 'xq', 'quantize_x'),
    node('DequantizeLinear', ['xq', 'scale', 'zero'], 'xd', 'dequantize_x'),
    node('DequantizeLinear', ['w', 'scale', 'zero'], 'wd', 'dequantize_w'),
    node('MatMul', ['xd', 'wd'], 'product', 'dense'),
    node('Relu', ['product'], 'positive', 'relu'),
    node('QuantizeLinear', ['positive', 'scale', 'zero'], 'yq', 'quantize_y'),
    node('DequantizeLinear', ['yq', 'scale', 'zero'], last, 'dequantize_y'),
    ...(softmax ? [node('Softmax', [last], 'y', 'softmax')] : []),
    [5, message([2, 1], [8, 'scale'], [9, Buffer.from(Float32Array.of(scale).buffer)])],
    [5, message([2, 3], [8, 'zero'], [9, Uint8Array.of(0)])],
    [5, message([1, 4], [1, 3], [2, 3], [8, 'w'], [9, Buffer.from(Int8Array.from(weights).buffer)])],
    [11, tensorValue('x', 1, [rows, 4])],
    [12, tensorValue('y', 1, [rows, 3])],
  );
}

/** Writes a model of floats: `y[1, 4] = relu(relu(x[1, 4]))`. */
export function floatModel(): Uint8Array {
  return model(
    node('Relu', ['x'], 'between', 'first'),
    // Nodes need no name.
    [1, message([1, 'between'], [2, 'y'], [4, 'Relu'])],
    [11, tensorValue('x', 1, [1, 4])],
    [12, tensorValue('y', 1, [1, 4])],
  );
}

/** Gives what {@link quantizedModel} answers to one row of eighths. */
export function quantizedAnswer(row: readonly number[]): number[] {
  return [0, 1, 2].map((column) => {
    const sum = row.reduce((total, value, at) => total + value * (weights[at * 3 + column] ?? 0) * scale, 0);
    return Math.min(15.875, Math.max(0, sum));
  });
}

function node(operator: string, inputs: readonly string[], output: string, name: string): Field {
  return [1, message(...inputs.map((input): Field => [1, input]), [2, output], [3, name], [4, operator])];
}
