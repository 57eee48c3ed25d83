import * as z from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import type { ServiceModel } from '../../../shared/model/service-config.ts';
import type { TensorSpec } from '../../../shared/model/signature.ts';
import { elementCount, type Tensor, type TensorData } from '../../collect/tensor.ts';
import { JsonCursor } from '../json/json-cursor.ts';
import { readNested } from '../json/tensor-reader.ts';
import { inSignatureOrder, toFeed } from '../model/feeds.ts';
import { readBinary } from './binary-tensor.ts';
import { writeInferAnswer } from './infer-answer.ts';
import { datatypeOf } from './infer-datatype.ts';
import type { ParsedRequest } from './score-call.ts';

const inputParameters = z.looseObject({ binary_data_size: z.int().nonnegative().optional() });
const requestParameters = z.looseObject({ binary_data_output: z.boolean().optional() });
const requestedOutput = z.looseObject({
  name: z.string(),
  parameters: z.looseObject({ binary_data: z.boolean().optional() }).optional(),
});
const shapeSchema = z.array(z.int().nonnegative()).max(16);

/** What a request says beside its tensors' values. */
interface InferRequest {
  readonly inputs: InferInput[];
  id?: string;
  outputs?: z.infer<typeof requestedOutput>[];
  binaryOutput?: boolean;
}

/** What a request says of one input; its values are read when its type is known. */
interface InferInput {
  name?: string;
  shape?: number[];
  datatype?: string;
  binaryBytes?: number;
  /** Where `data` stands in the JSON. */
  dataAt?: number;
  /** Its values, where name and datatype stand before them as in every client's requests: then they are walked over once. */
  read?: { readonly spec: TensorSpec; readonly data: TensorData };
}

/**
 * Reads the body of an Open Inference Protocol request: JSON, and binary tensors behind it where `jsonBytes` says so.
 * @throws {FerryError} REQUEST_INVALID
 * @see https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
 */
export function parseInferBody(body: Uint8Array, jsonBytes: number | undefined, model: ServiceModel): ParsedRequest {
  if (jsonBytes !== undefined && jsonBytes > body.byteLength) {
    throw invalid(`its JSON is said to have ${jsonBytes} bytes, but all of it has ${body.byteLength}`);
  }
  const json = body.subarray(0, jsonBytes);
  const request = readRequest(json, model);
  const given = new Map<string, Tensor>();
  let binaryAt = json.byteLength;
  for (const input of request.inputs) {
    const spec = specOf(input, model);
    const { binaryBytes } = input;
    if (binaryBytes === undefined) {
      given.set(spec.name, toFeed(spec, valuesInJson(input, spec, json)));
      continue;
    }
    const bytes = body.subarray(binaryAt, binaryAt + binaryBytes);
    if (bytes.byteLength < binaryBytes) throw invalid(`the binary data of "${spec.name}" ends early`);
    given.set(spec.name, toFeed(spec, { shape: input.shape ?? [], data: readBinary(bytes, spec) }));
    binaryAt += binaryBytes;
  }
  if (binaryAt < body.byteLength) throw invalid(`${body.byteLength - binaryAt} bytes are left behind its tensors`);
  const wanted = wantedOutputs(request, model);
  return {
    feeds: inSignatureOrder(model.signature, given),
    answer: (outputs) => writeInferAnswer(outputs, { model, id: request.id, wanted }),
  };
}

function readRequest(json: Uint8Array, model: ServiceModel): InferRequest {
  const cursor = new JsonCursor(json);
  const request: InferRequest = { inputs: [] };
  cursor.object((member) => {
    if (member === 'inputs') cursor.array(() => void request.inputs.push(readInput(cursor, model)));
    else if (member === 'id') request.id = cursor.string();
    else if (member === 'outputs') request.outputs = small(z.array(requestedOutput), cursor, '"outputs"');
    else if (member === 'parameters') {
      const { binary_data_output: binary } = small(requestParameters, cursor, '"parameters"');
      if (binary !== undefined) request.binaryOutput = binary;
    } else cursor.skip();
  });
  cursor.end();
  return request;
}

function readInput(cursor: JsonCursor, model: ServiceModel): InferInput {
  const input: InferInput = {};
  cursor.object((member) => {
    if (member === 'name') input.name = cursor.string();
    else if (member === 'datatype') input.datatype = cursor.string();
    else if (member === 'shape') input.shape = small(shapeSchema, cursor, 'a "shape"');
    else if (member === 'parameters') {
      const { binary_data_size: bytes } = small(inputParameters, cursor, '"parameters"');
      if (bytes !== undefined) input.binaryBytes = bytes;
    } else if (member === 'data') {
      cursor.peek();
      input.dataAt = cursor.position;
      const { name, datatype, shape = [] } = input;
      const spec = model.signature.inputs.find((own) => own.name === name && datatypeOf(own.type) === datatype);
      if (spec === undefined) cursor.skip();
      else input.read = { spec, data: readNested(cursor, spec.type, roomFor(shape, cursor)).data };
    } else cursor.skip();
  });
  return input;
}

/** Finds the input in the signature, and checks what the request says of it. */
function specOf({ name, datatype, shape }: InferInput, model: ServiceModel): TensorSpec {
  const spec = model.signature.inputs.find((input) => input.name === name);
  if (spec === undefined) {
    const known = model.signature.inputs.map((input) => `"${input.name}"`).join(', ');
    throw invalid(`it has an input ${name === undefined ? 'without a name' : `"${name}"`}, of ${known} was wanted`);
  }
  if (datatype !== datatypeOf(spec.type)) {
    throw invalid(`the datatype of "${spec.name}" is "${datatype ?? ''}", "${datatypeOf(spec.type)}" was wanted`);
  }
  if (shape === undefined) throw invalid(`"${spec.name}" has no shape, every input has one`);
  return spec;
}

/** Reads values that stand in the JSON: one flat array, or arrays in each other. */
function valuesInJson(
  { shape = [], dataAt, read }: InferInput,
  spec: TensorSpec,
  json: Uint8Array,
): { shape: number[]; data: TensorData } {
  if (dataAt === undefined) throw invalid(`"${spec.name}" has no data`);
  if (read?.spec === spec) return { shape, data: read.data };
  const cursor = new JsonCursor(json, dataAt);
  return { shape, data: readNested(cursor, spec.type, roomFor(shape, cursor)).data };
}

/** Elements to make room for: the values are at least two bytes each, so no shape can ask for more than the body deserves. */
function roomFor(shape: readonly number[], cursor: JsonCursor): number {
  return Math.min(elementCount(shape), cursor.bytesLeft);
}

/** Gives the outputs that the answer has, in the order asked for, and which of them are binary. */
function wantedOutputs(request: InferRequest, { signature }: ServiceModel): Map<string, { binary: boolean }> {
  const binary = request.binaryOutput ?? false;
  const names = request.outputs ?? signature.outputs;
  const wanted = new Map<string, { binary: boolean }>();
  for (const output of names) {
    if (!signature.outputs.some(({ name }) => name === output.name)) {
      throw invalid(
        `it asks for the output "${output.name}", of ${signature.outputs.map(({ name }) => `"${name}"`).join(', ')} was wanted`,
      );
    }
    const own = 'parameters' in output ? output.parameters?.binary_data : undefined;
    wanted.set(output.name, { binary: own ?? binary });
  }
  return wanted;
}

function small<T>(schema: z.ZodType<T>, cursor: JsonCursor, what: string): T {
  const parsed = schema.safeParse(cursor.value());
  if (parsed.success) return parsed.data;
  throw invalid(
    `${what} is not as the protocol has it: ${parsed.error.issues.map(({ message }) => message).join('; ')}`,
  );
}

function invalid(found: string): FerryError {
  return new FerryError('REQUEST_INVALID', `Cannot read the inference request: ${found}`);
}
