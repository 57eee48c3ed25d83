import type { Placement } from './placement.ts';
import { Refusal } from './refusal.ts';
import type { Datatype, WireTensor } from './tensors.ts';

/** What the protocol says of a tensor. */
export interface TensorMetadata {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
}

/** A model as a card has it: of fixed shapes. */
export interface CardModel {
  readonly placement: Placement;
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
  /** Computes it, with inputs that were checked. */
  run(inputs: readonly WireTensor[]): Promise<WireTensor[]>;
  close(): Promise<void>;
}

/** Gives the inputs in the order of the model. @throws {Refusal} 400 when they are not of its types and shapes */
export function checkInputs({ inputs }: Pick<CardModel, 'inputs'>, given: readonly WireTensor[]): WireTensor[] {
  const unknown = given.find(({ name }) => !inputs.some((input) => input.name === name));
  if (unknown !== undefined) throw new Refusal(400, `There is no input "${unknown.name}"`);
  return inputs.map(({ name, datatype, shape }) => {
    const tensor = given.find((input) => input.name === name);
    if (tensor?.datatype === datatype && tensor.shape.join() === shape.join()) return tensor;
    const found = tensor === undefined ? 'it is missing' : `it is ${tensor.datatype}[${tensor.shape.join(', ')}]`;
    throw new Refusal(400, `The input "${name}" does not fit: ${found}, ${datatype}[${shape.join(', ')}] was wanted`);
  });
}

/** The protocol's datatypes by ONNX's names. */
const datatypes: Readonly<Record<string, Datatype>> = {
  bool: 'BOOL',
  float16: 'FP16',
  float32: 'FP32',
  float64: 'FP64',
  int16: 'INT16',
  int32: 'INT32',
  int64: 'INT64',
  int8: 'INT8',
  uint16: 'UINT16',
  uint32: 'UINT32',
  uint64: 'UINT64',
  uint8: 'UINT8',
};

/** Describes a tensor as a card takes it. @throws {Error} when it is of no number, or leaves a dimension open */
export function describeTensor(name: string, type: string, dimensions: readonly (number | string)[]): TensorMetadata {
  const datatype = datatypes[type];
  if (datatype === undefined) throw new Error(`"${name}" is of the type ${type}, a number was wanted`);
  const shape = dimensions.map((size) => {
    if (typeof size === 'number' && size >= 0) return size;
    throw new Error(`"${name}" has the shape [${dimensions.join(', ')}]: a card is compiled for one shape`);
  });
  return { name, datatype, shape };
}

/** Gives ONNX's name of a datatype. */
export function onnxTypeOf(datatype: Datatype): string {
  return Object.keys(datatypes).find((type) => datatypes[type] === datatype) ?? '';
}
