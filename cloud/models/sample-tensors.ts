import { numericArrays, type NumericType } from '../../shared/model/numeric-arrays.ts';
import type { Signature, TensorSpec, TensorType } from '../../shared/model/signature.ts';
import type { RuntimeTensor } from './runtime-process.ts';

/** Values of tensors as JSON has them: nested arrays by name. */
export type JsonTensors = Readonly<Record<string, unknown>>;

/** Gives a sample as the runtime takes it. The sample fits the signature. */
export function toRuntimeTensors(sample: JsonTensors, { inputs }: Signature): readonly RuntimeTensor[] {
  return inputs.map(({ name, type }) => {
    const value = sample[name];
    const [leaves, shape] = [leavesOf(value), shapeOf(value)];
    if (type === 'string') return { name, type, shape, data: leaves.map(String) };
    const elements =
      type === 'int64' || type === 'uint64'
        ? numericArrays[type].from(leaves.map((leaf) => BigInt(leaf as string | number)))
        : numericArrays[type].from(leaves.map(Number));
    return { name, type, shape, data: base64Of(elements) };
  });
}

/** Gives what the runtime gave as JSON has it, in the order of the signature. */
export function fromRuntimeTensors(tensors: readonly RuntimeTensor[], { outputs }: Signature): JsonTensors {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return Object.fromEntries(
    outputs.map(({ name }) => {
      const tensor = byName.get(name);
      return [name, tensor === undefined ? [] : nest(elementsOf(tensor).map(leafFor(tensor.type)), tensor.shape)];
    }),
  );
}

/** Gives the elements of a tensor: texts, numbers, or big integers. */
export function elementsOf({ type, data }: RuntimeTensor): readonly (string | number | bigint)[] {
  if (typeof data !== 'string') return data;
  if (type === 'string') throw new Error('A tensor of texts holds them as they are');
  return Array.from<string | number | bigint>(
    new numericArrays[type](Uint8Array.from(Buffer.from(data, 'base64')).buffer),
  );
}

/** Makes tensors that fit inputs: floats are a wave, so that rows differ; texts, integers and truths are empty or 0, which may be indices. */
export function madeUpTensors({ inputs }: Signature, rows: number): readonly RuntimeTensor[] {
  return inputs.map(({ name, type, shape: wanted }: TensorSpec): RuntimeTensor => {
    const shape = wanted.map((dimension, at) => (typeof dimension === 'number' ? dimension : at === 0 ? rows : 1));
    const length = shape.reduce((product, size) => product * size, 1);
    if (type === 'string') return { name, type, shape, data: Array.from({ length }, () => '') };
    const elements = new numericArrays[type](length);
    if (!(elements instanceof BigInt64Array || elements instanceof BigUint64Array) && type.startsWith('float')) {
      for (let at = 0; at < length; at += 1) elements[at] = Math.sin(at + 1);
    }
    return { name, type, shape, data: base64Of(elements) };
  });
}

function base64Of({ buffer, byteOffset, byteLength }: InstanceType<(typeof numericArrays)[NumericType]>): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
}

/** Gives what writes an element as JSON has it: as the scoring server answers. */
function leafFor(type: TensorType): (element: string | number | bigint) => unknown {
  return (element) => {
    if (type === 'bool') return element !== 0;
    // JSON's numbers are doubles to most readers: a larger integer is a text of digits.
    if (typeof element === 'bigint') return Number.isSafeInteger(Number(element)) ? Number(element) : String(element);
    if (typeof element === 'string') return element;
    if (!Number.isFinite(element)) return String(element);
    if (type === 'float32') return shortest(element, Math.fround);
    return type === 'float16' ? shortest(element, Math.f16round) : element;
  };
}

/** Gives the number with the fewest digits that is the same one in the tensor's type. */
function shortest(value: number, round: (value: number) => number): number {
  for (let digits = 1; digits < 17; digits += 1) {
    const short = Number(value.toPrecision(digits));
    if (round(short) === value) return short;
  }
  return value;
}

function nest(leaves: readonly unknown[], shape: readonly number[]): unknown {
  const [size, ...below] = shape;
  if (size === undefined) return leaves[0];
  const width = size === 0 ? 0 : leaves.length / size;
  return Array.from({ length: size }, (_, at) => nest(leaves.slice(at * width, (at + 1) * width), below));
}

/** Gives the elements of nested arrays, row by row. */
export function leavesOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value.flatMap(leavesOf) : [value];
}

/** Gives the shape of nested arrays that are of one shape all over. */
function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...(value.length === 0 ? [] : shapeOf(value[0]))] : [];
}
