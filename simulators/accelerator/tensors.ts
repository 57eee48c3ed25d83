import { Refusal } from './refusal.ts';

/** A tensor as the protocol has it. */
export interface WireTensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: Elements;
}

/** Arrays by the protocol's datatypes. An accelerator takes numbers alone: BYTES is not among them. */
const arrays = {
  BOOL: Uint8Array,
  FP16: Float16Array,
  FP32: Float32Array,
  FP64: Float64Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  INT8: Int8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  UINT8: Uint8Array,
} as const;

export type Datatype = keyof typeof arrays;
export type Elements = InstanceType<(typeof arrays)[Datatype]>;

/** Says whether a text is a datatype that an accelerator takes. */
export function isDatatype(text: string): text is Datatype {
  return Object.hasOwn(arrays, text);
}

/** Reads little-endian elements. @throws {Refusal} 400 when they are not as many as the shape has */
export function fromBinary(bytes: Uint8Array, of: Omit<WireTensor, 'data'>): WireTensor {
  const array = arrays[of.datatype];
  const wanted = countOf(of.shape) * array.BYTES_PER_ELEMENT;
  if (bytes.byteLength !== wanted) {
    throw new Refusal(400, `The binary data of "${of.name}" has ${bytes.byteLength} bytes, ${wanted} were wanted`);
  }
  // A copy, so that it is aligned.
  return { ...of, data: new array(Uint8Array.from(bytes).buffer) };
}

/** Reads elements from JSON: flat, or nested as the shape is. @throws {Refusal} 400 */
export function fromJson(values: readonly unknown[], of: Omit<WireTensor, 'data'>): WireTensor {
  const flat = values.flat(Number.POSITIVE_INFINITY);
  if (flat.length !== countOf(of.shape)) {
    throw new Refusal(400, `"${of.name}" has ${flat.length} elements, ${countOf(of.shape)} were wanted for its shape`);
  }
  const array = arrays[of.datatype];
  if (array === BigInt64Array || array === BigUint64Array) return { ...of, data: array.from(flat.map(toBigInt)) };
  const numbers = flat.map((value) => {
    if (typeof value === 'number' || typeof value === 'boolean') return Number(value);
    throw new Refusal(400, `"${of.name}" has an element that is no number`);
  });
  return { ...of, data: (array as Float32ArrayConstructor).from(numbers) };
}

/** Gives the elements as JSON numbers; the protocol's data are flat. */
export function toJson({ data }: WireTensor): unknown[] {
  return Array.from(data as Iterable<number | bigint>, Number);
}

/** Gives the elements little-endian. */
export function toBinary({ data }: WireTensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Elements of a shape; a scalar has one. */
function countOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function toBigInt(value: unknown): bigint {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value === 'string' && /^-?\d{1,20}$/.test(value)) return BigInt(value);
  throw new Refusal(400, `An element is ${JSON.stringify(value)}, a whole number was wanted`);
}
