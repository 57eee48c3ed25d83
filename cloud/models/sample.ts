import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import type { Signature, TensorSpec, TensorType } from '../../shared/model/signature.ts';
import { type JsonTensors, leavesOf } from './sample-tensors.ts';

/** A request to score a model, and what it gave when the model was registered. */
export const sampleSchema = z.strictObject({
  /** As a client would send it: values by input, nested as the input's shape says. */
  input: z.record(z.string(), z.unknown()),
  /** As the scoring server would answer; null where the model was not run, or this would be too large to keep. */
  output: z.record(z.string(), z.unknown()).nullable(),
});

export type Sample = z.infer<typeof sampleSchema>;

/** Names that the scoring server takes for the one input of a model beside its own. */
const otherNames: readonly string[] = ['data', 'input_data'];

/** Largest sample, and largest output of one, that is kept, in bytes: it is in the workspace's database and in images. */
export const sampleBytesMax = 1024 * 1024;

/**
 * Reads a sample input of a model from a JSON file, and checks it against the model's signature.
 * @throws {FerryError} FILE_NOT_FOUND or FILE_UNREADABLE when it is not there or cannot be read
 * @throws {FerryError} MODEL_INVALID naming everything that does not fit the signature
 */
export async function readSample(path: string, signature: Signature): Promise<JsonTensors> {
  const text = await readText(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FerryError('MODEL_INVALID', `Cannot use the sample "${path}": it is no JSON`, { cause });
  }
  const named = nameInput(value, signature);
  const problems = sampleProblems(named, signature);
  if (problems.length === 0) return named as JsonTensors;
  throw new FerryError('MODEL_INVALID', `Cannot use the sample "${path}": ${problems.join('; ')}`);
}

/** Names the input of a sample that is written as `{"data": …}`. */
function nameInput(value: unknown, { inputs }: Signature): unknown {
  const [input, ...more] = inputs;
  if (input === undefined || more.length > 0 || typeof value !== 'object' || value === null) return value;
  const [entry, ...others] = Object.entries(value);
  if (entry === undefined || others.length > 0 || !otherNames.includes(entry[0])) return value;
  return { [input.name]: entry[1] };
}

/** Says everything in which a value is no request for a model of this signature; an empty list when it is one. */
export function sampleProblems(value: unknown, { inputs }: Signature): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [`it is no object, one with ${inputs.map(({ name }) => `"${name}"`).join(', ')} was wanted`];
  }
  const given = value as JsonTensors;
  const unknown = Object.keys(given).filter((name) => !inputs.some((input) => input.name === name));
  const sizes = new Map<string, number>();
  return [
    ...unknown.map((name) => `the model has no input "${name}"`),
    ...inputs.flatMap((input) =>
      Object.hasOwn(given, input.name)
        ? tensorProblems(given[input.name], input, sizes)
        : [`"${input.name}" is missing`],
    ),
  ];
}

/** @param sizes sizes of symbolic dimensions, which are the same wherever they stand; filled in here */
function tensorProblems(value: unknown, { name, type, shape }: TensorSpec, sizes: Map<string, number>): string[] {
  const found = shapeOf(value);
  const wanted = `[${shape.join(', ')}]`;
  if (found === undefined) return [`"${name}" is not of one shape, ${wanted} was wanted`];
  const fits =
    found.length === shape.length && shape.every((dimension, at) => isSize(dimension, found[at] ?? 0, sizes));
  if (!fits) return [`"${name}" has the shape [${found.join(', ')}], ${wanted} was wanted`];
  const wrong = leavesOf(value).find((leaf) => !isElement(leaf, type));
  return wrong === undefined ? [] : [`"${name}" holds ${JSON.stringify(wrong)}, ${type} was wanted`];
}

function isSize(dimension: number | string, size: number, sizes: Map<string, number>): boolean {
  if (typeof dimension === 'number') return dimension === size;
  if (dimension === '?') return true;
  const known = sizes.get(dimension) ?? size;
  sizes.set(dimension, known);
  return known === size;
}

/** Gives the shape of nested arrays, or undefined where they are not of the same shape all over. */
function shapeOf(value: unknown): readonly number[] | undefined {
  if (!Array.isArray(value)) return [];
  const shapes = value.map(shapeOf);
  const first = value.length === 0 ? [] : shapes[0];
  if (first === undefined || shapes.some((shape) => shape?.join() !== first.join())) return undefined;
  return [value.length, ...first];
}

function isElement(leaf: unknown, type: TensorType): boolean {
  if (type === 'string') return typeof leaf === 'string';
  if (type === 'bool') return typeof leaf === 'boolean';
  if (type.startsWith('float')) {
    return typeof leaf === 'number' || ['NaN', 'Infinity', '-Infinity'].includes(leaf as string);
  }
  const [, unsigned = '', bits = ''] = /^(u?)int(\d+)$/.exec(type) ?? [];
  // What JSON's numbers cannot hold exactly is a text of digits.
  const isInteger =
    typeof leaf === 'number'
      ? Number.isSafeInteger(leaf)
      : typeof leaf === 'string' && bits === '64' && /^-?\d{1,20}$/.test(leaf);
  if (!isInteger) return false;
  const [value, span] = [BigInt(leaf as number | string), 2n ** BigInt(bits)];
  return unsigned === 'u' ? value >= 0n && value < span : value >= -span / 2n && value < span / 2n;
}

async function readText(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size <= sampleBytesMax) return await readFile(path, 'utf8');
    const found = `it has ${size} bytes, at most ${sampleBytesMax} were wanted`;
    throw new FerryError('MODEL_INVALID', `Cannot use the sample "${path}": ${found}`);
  } catch (cause) {
    if (cause instanceof FerryError) throw cause;
    const missing = systemCodeOf(cause) === 'ENOENT';
    const found = missing ? 'there is no such file' : 'it cannot be read';
    throw new FerryError(missing ? 'FILE_NOT_FOUND' : 'FILE_UNREADABLE', `Cannot use the sample "${path}": ${found}`, {
      cause,
    });
  }
}
