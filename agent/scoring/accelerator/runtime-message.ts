import * as z from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import type { ServiceModel } from '../../../shared/model/service-config.ts';
import type { TensorSpec } from '../../../shared/model/signature.ts';
import { elementCount, type Tensor, type TensorData } from '../../collect/tensor.ts';
import { JsonCursor } from '../json/json-cursor.ts';
import { readNested } from '../json/tensor-reader.ts';
import { readBinary, writeBinary } from '../protocol/binary-tensor.ts';
import { datatypeOf } from '../protocol/infer-datatype.ts';

/**
 * Writes a request of the Open Inference Protocol with binary tensors both ways.
 * @returns all of it, and how many bytes of JSON stand at its start
 */
export function writeRuntimeRequest(
  feeds: readonly Tensor[],
  { signature }: ServiceModel,
): { readonly json: number; readonly body: Uint8Array<ArrayBuffer> } {
  const tensors = feeds.map(writeBinary);
  const inputs = feeds.map(({ name, type, shape }, index) => ({
    name,
    datatype: datatypeOf(type),
    shape,
    parameters: { binary_data_size: tensors[index]?.byteLength ?? 0 },
  }));
  const outputs = signature.outputs.map(({ name }) => ({ name, parameters: { binary_data: true } }));
  const json = Buffer.from(JSON.stringify({ inputs, outputs }));
  return { json: json.byteLength, body: Buffer.concat([json, ...tensors]) };
}

const answerSchema = z.looseObject({
  outputs: z.array(
    z.looseObject({
      name: z.string(),
      datatype: z.string(),
      shape: z.array(z.int().nonnegative()).max(16),
      parameters: z.looseObject({ binary_data_size: z.int().nonnegative().optional() }).optional(),
      data: z.array(z.unknown()).optional(),
    }),
  ),
});

type WireOutput = z.infer<typeof answerSchema>['outputs'][number];

/**
 * Reads an answer: binary tensors, or JSON from a runtime that has no others.
 * @returns one tensor an output, in the signature's order
 * @throws {FerryError} SCORING_FAILED when it is not what the signature says
 */
export function readRuntimeAnswer(
  body: Uint8Array,
  jsonBytes: number = body.byteLength,
  model: ServiceModel,
): Tensor[] {
  const fail = (found: string, cause?: unknown): FerryError =>
    new FerryError(
      'SCORING_FAILED',
      `Cannot score with the model ${model.name}:${model.version}: the accelerator's answer ${found}`,
      { cause },
    );
  try {
    const { outputs } = answerSchema.parse(JSON.parse(Buffer.from(body.subarray(0, jsonBytes)).toString()));
    let at = jsonBytes;
    const read = new Map<string, Tensor>();
    for (const output of outputs) {
      const bytes = output.parameters?.binary_data_size ?? 0;
      const spec = model.signature.outputs.find(({ name }) => name === output.name);
      if (spec !== undefined) read.set(spec.name, toTensor(output, body.subarray(at, at + bytes), spec));
      at += bytes;
    }
    return model.signature.outputs.map(({ name }) => {
      const tensor = read.get(name);
      if (tensor === undefined) throw new Error(`it has no output "${name}"`);
      return tensor;
    });
  } catch (cause) {
    throw fail('cannot be read', cause);
  }
}

function toTensor({ datatype, shape, parameters, data }: WireOutput, bytes: Uint8Array, spec: TensorSpec): Tensor {
  const { name, type } = spec;
  const fits =
    shape.length === spec.shape.length &&
    spec.shape.every((size, index) => typeof size === 'string' || size === shape[index]);
  if (datatype !== datatypeOf(type) || !fits) {
    const wanted = `${datatypeOf(type)}[${spec.shape.join(', ')}]`;
    throw new Error(`the output "${name}" is ${datatype}[${shape.join(', ')}], ${wanted} was wanted`);
  }
  const values: TensorData =
    parameters?.binary_data_size === undefined ? valuesInJson(data, spec) : readBinary(bytes, spec);
  if (values.length === elementCount(shape)) return { name, type, shape, data: values };
  throw new Error(`the output "${name}" has ${values.length} elements, its shape has ${elementCount(shape)}`);
}

function valuesInJson(data: readonly unknown[] | undefined, spec: TensorSpec): TensorData {
  const flat = (data ?? []).flat(Number.POSITIVE_INFINITY);
  return readNested(new JsonCursor(Buffer.from(JSON.stringify(flat))), spec.type, flat.length).data;
}
