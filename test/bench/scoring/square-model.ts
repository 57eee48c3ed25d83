import { message } from '../../../cloud/models/protobuf-message.ts';
import { model, tensorValue } from '../../cloud/models/onnx-writer.ts';

/** ONNX's number of float32 (onnx.proto, TensorProto.DataType). */
const float32 = 1;

/** Makes an ONNX file of one product with a square matrix: `x` float32[rows, size] to `y` of the same shape. */
export function squareModel(size: number): Uint8Array {
  const weights = new Float32Array(size * size);
  for (let index = 0; index < weights.length; index += 1) weights[index] = ((index % 257) - 128) / 1024;
  const raw = new Uint8Array(weights.buffer);
  return model(
    [1, message([1, 'x'], [1, 'weights'], [2, 'y'], [4, 'MatMul'])],
    [5, message([1, size], [1, size], [2, float32], [8, 'weights'], [9, raw])],
    [11, tensorValue('x', float32, ['rows', size])],
    [12, tensorValue('y', float32, ['rows', size])],
  );
}
