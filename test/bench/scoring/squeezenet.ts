import { type Field, message } from '../../../cloud/models/protobuf-message.ts';
import { model, tensorValue } from '../../cloud/models/onnx-writer.ts';

/** ONNX's number of float32 (onnx.proto, TensorProto.DataType). */
const float32 = 1;

/** AttributeProto.AttributeType. */
const attributeTypes = { int: 2, ints: 7 };

/** Squeeze channels and expand channels (of each kind) of the eight fire modules; a pool stands before those in the list below. */
const fires = [
  [16, 64],
  [16, 64],
  [32, 128],
  [32, 128],
  [48, 192],
  [48, 192],
  [64, 256],
  [64, 256],
] as const;
const pooledBefore = [0, 2, 4];

const classes = 1000;

/**
 * Makes an ONNX file of the size and the operations of SqueezeNet 1.1 (1.2 million weights, 0.35 GMAC): `image`
 * float32[1, 3, 224, 224] to `scores` float32[1, 1000]. The weights come of a seed: what it answers means nothing, what it costs does.
 * @see https://arxiv.org/abs/1602.07360
 */
export function squeezeNet(): Uint8Array {
  const graph = new GraphWriter();
  let at = graph.convolution('image', { from: 3, to: 64, kernel: 3, stride: 2 });
  let channels = 64;
  for (const [index, [squeeze, expand]] of fires.entries()) {
    if (pooledBefore.includes(index))
      at = graph.node('MaxPool', [at], [ints('kernel_shape', 3, 3), ints('strides', 2, 2)]);
    const squeezed = graph.convolution(at, { from: channels, to: squeeze, kernel: 1 });
    const narrow = graph.convolution(squeezed, { from: squeeze, to: expand, kernel: 1 });
    const wide = graph.convolution(squeezed, { from: squeeze, to: expand, kernel: 3, padding: 1 });
    at = graph.node('Concat', [narrow, wide], [int('axis', 1)]);
    channels = 2 * expand;
  }
  at = graph.convolution(at, { from: channels, to: classes, kernel: 1 });
  at = graph.node('GlobalAveragePool', [at]);
  at = graph.node('Flatten', [at]);
  graph.node('Identity', [at], [], 'scores');
  return model(
    ...graph.fields,
    [11, tensorValue('image', float32, [1, 3, 224, 224])],
    [12, tensorValue('scores', float32, [1, classes])],
  );
}

interface Convolution {
  readonly from: number;
  readonly to: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly padding?: number;
}

/** Writes nodes (NodeProto) and weights (TensorProto) one after the other. */
export class GraphWriter {
  readonly fields: Field[] = [];
  readonly #random = seeded(20_261_122);
  #next = 0;

  /** A node of one output; gives the output's name. */
  node(operation: string, inputs: readonly string[], attributes: readonly Uint8Array[] = [], output?: string): string {
    const name = output ?? `v${this.#next++}`;
    const given = inputs.map((input): Field => [1, input]);
    this.fields.push([
      1,
      message(...given, [2, name], [4, operation], ...attributes.map((attribute): Field => [5, attribute])),
    ]);
    return name;
  }

  /** A convolution with a bias, and the rectifier behind it. */
  convolution(input: string, { from, to, kernel, stride = 1, padding = 0 }: Convolution): string {
    // As large as keeps values of the same size from layer to layer (He et al. 2015).
    const deviation = Math.sqrt(2 / (from * kernel * kernel));
    const weights = this.#weights([to, from, kernel, kernel], deviation);
    const bias = this.#weights([to], 0.01);
    const sides = ints('pads', padding, padding, padding, padding);
    const at = this.node(
      'Conv',
      [input, weights, bias],
      [ints('kernel_shape', kernel, kernel), ints('strides', stride, stride), sides],
    );
    return this.node('Relu', [at]);
  }

  #weights(shape: readonly number[], deviation: number): string {
    const name = `w${this.#next++}`;
    const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
    // Uniform of the same deviation: half of its width is the deviation times the root of three.
    for (let index = 0; index < values.length; index += 1) {
      values[index] = (2 * this.#random() - 1) * deviation * Math.sqrt(3);
    }
    const dimensions = shape.map((size): Field => [1, size]);
    this.fields.push([5, message(...dimensions, [2, float32], [8, name], [9, new Uint8Array(values.buffer)])]);
    return name;
  }
}

export function ints(name: string, ...values: readonly number[]): Uint8Array {
  return message([1, name], ...values.map((value): Field => [8, value]), [20, attributeTypes.ints]);
}

function int(name: string, value: number): Uint8Array {
  return message([1, name], [3, value], [20, attributeTypes.int]);
}

/** Numbers from 0 to 1 that are the same everywhere. @see mulberry32 */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
