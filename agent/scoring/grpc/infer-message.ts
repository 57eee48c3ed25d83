import * as z from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import type { Answer } from '../protocol/score-call.ts';
import { typeOfDatatype } from '../protocol/infer-datatype.ts';
import { binaryToContents, contentsToBinary, hasContents, type InferTensorContents } from './infer-contents.ts';

/** A tensor of a request or an answer. */
interface InferTensorMessage {
  readonly name: string;
  readonly datatype: string;
  /** Digits: protobuf has 64 bits for a dimension. */
  readonly shape: readonly string[];
  readonly contents?: InferTensorContents | null;
}

/** `ModelInferRequest`, as protobuf decodes it. */
export interface ModelInferRequest {
  readonly model_name: string;
  readonly model_version: string;
  readonly id: string;
  readonly inputs: readonly InferTensorMessage[];
  readonly outputs: readonly { readonly name: string }[];
  readonly raw_input_contents: readonly Uint8Array[];
}

/** `ModelInferResponse`, for protobuf to encode. */
export interface ModelInferResponse {
  readonly model_name: string;
  readonly model_version: string;
  readonly id: string;
  readonly outputs: readonly InferTensorMessage[];
  readonly raw_output_contents: readonly Uint8Array[];
}

/** What the JSON at the start of an answer says of its tensors. */
const answerSchema = z.object({
  model_name: z.string(),
  model_version: z.string(),
  outputs: z.array(
    z.object({
      name: z.string(),
      datatype: z.string(),
      shape: z.array(z.int()),
      parameters: z.object({ binary_data_size: z.int() }),
    }),
  ),
});

/**
 * Puts a request into the form that it has over REST with binary tensors, so that both are read, checked and scored in one place
 * (which may be another process).
 * @throws {FerryError} REQUEST_INVALID
 */
export function toInferBody(request: ModelInferRequest): { readonly body: Uint8Array; readonly jsonBytes: number } {
  const { inputs, outputs, raw_input_contents: raw } = request;
  if (raw.length > 0 && raw.length !== inputs.length) {
    throw invalid(`it has ${raw.length} raw_input_contents, ${inputs.length} were wanted: one an input`);
  }
  const binaries = inputs.map((input, index) => raw[index] ?? binaryOf(input));
  if (raw.length > 0 && inputs.some(({ contents }) => Object.values(contents ?? {}).some((list) => list.length > 0))) {
    throw invalid('it has contents and raw_input_contents, one of them was wanted');
  }
  const header = {
    inputs: inputs.map(({ name, datatype, shape }, index) => ({
      name,
      datatype,
      shape: shape.map(Number),
      parameters: { binary_data_size: binaries[index]?.byteLength ?? 0 },
    })),
    // Over REST an empty list would be a wish for nothing.
    ...(outputs.length === 0 ? {} : { outputs: outputs.map(({ name }) => ({ name })) }),
    parameters: { binary_data_output: true },
  };
  const json = Buffer.from(JSON.stringify(header));
  return { body: Buffer.concat([json, ...binaries]), jsonBytes: json.byteLength };
}

/** Makes the answer of what scoring gave: raw where the request was, or where a tensor has no other form. */
export function fromInferAnswer({ body, jsonBytes }: Answer, request: ModelInferRequest): ModelInferResponse {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const json = Buffer.from(bytes.subarray(0, jsonBytes)).toString();
  const { model_name, model_version, outputs } = answerSchema.parse(JSON.parse(json));
  let at = jsonBytes ?? bytes.byteLength;
  const tensors = outputs.map(({ name, datatype, shape, parameters }) => {
    const binary = bytes.subarray(at, at + parameters.binary_data_size);
    at += parameters.binary_data_size;
    return { name, datatype, shape: shape.map(String), binary, type: typeOfDatatype(datatype) };
  });
  const raw =
    request.raw_input_contents.length > 0 || tensors.some(({ type }) => type === undefined || !hasContents(type));
  return {
    model_name,
    model_version,
    id: request.id,
    outputs: tensors.map(({ binary, type, ...said }) =>
      raw || type === undefined ? said : { ...said, contents: binaryToContents(binary, type) },
    ),
    raw_output_contents: raw ? tensors.map(({ binary }) => binary) : [],
  };
}

function binaryOf({ name, datatype, contents }: InferTensorMessage): Uint8Array {
  const type = typeOfDatatype(datatype);
  if (type === undefined) throw invalid(`the datatype of "${name}" is "${datatype}", one of the protocol was wanted`);
  return contentsToBinary(contents ?? {}, { name, type });
}

function invalid(found: string): FerryError {
  return new FerryError('REQUEST_INVALID', `Cannot read the inference request: ${found}`);
}
