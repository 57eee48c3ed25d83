import { type Field, message } from '../../../cloud/models/protobuf-message.ts';
import { model, tensorValue } from '../../cloud/models/onnx-writer.ts';

/** ONNX's number of float32 (onnx.proto, TensorProto.DataType). */
const float32 = 1;

/**
 * Makes an ONNX file of products with one square matrix: `x` float32[rows, size] to `y` of the same shape.
 * @param layers products, one after the other, each but the last one squashed by `Tanh`
 */
export function squareModel(size: number, layers = 1): Uint8Array {
  const weights = new Float32Array(size * size);
  for (let index = 0; index < weights.length; index += 1) weights[index] = ((index % 257) - 128) / 1024;
  const raw = new Uint8Array(weights.buffer);
  return model(
    ...Array.from({ length: layers - 1 }, (_, layer) => hiddenLayer(layer)).flat(),
    [1, message([1, hidden(layers - 1)], [1, 'weights'], [2, 'y'], [4, 'MatMul'])],
    [5, message([1, size], [1, size], [2, float32], [8, 'weights'], [9, raw])],
    [11, tensorValue('x', float32, ['rows', size])],
    [12, tensorValue('y', float32, ['rows', size])],
  );
}

/** Names what goes into a layer. */
function hidden(layer: number): string {
  return layer === 0 ? 'x' : `h${layer}`;
}

function hiddenLayer(layer: number): readonly Field[] {
  const product = `p${layer}`;
  return [
    [1, message([1, hidden(layer)], [1, 'weights'], [2, product], [4, 'MatMul'])],
    [1, message([1, product], [2, hidden(layer + 1)], [4, 'Tanh'])],
  ];
}
