import { z } from 'zod';
import { Refusal } from './refusal.ts';
import { fromBinary, fromJson, isDatatype, toBinary, toJson, type WireTensor } from './tensors.ts';

// https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
// and its extension https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
const requestSchema = z.looseObject({
  id: z.string().optional(),
  parameters: z.looseObject({ binary_data_output: z.boolean().optional() }).optional(),
  inputs: z.array(
    z.looseObject({
      name: z.string(),
      shape: z.array(z.int().nonnegative()).max(16),
      datatype: z.string(),
      parameters: z.looseObject({ binary_data_size: z.int().nonnegative().optional() }).optional(),
      data: z.array(z.unknown()).optional(),
    }),
  ),
  outputs: z
    .array(
      z.looseObject({
        name: z.string(),
        parameters: z.looseObject({ binary_data: z.boolean().optional() }).optional(),
      }),
    )
    .optional(),
});

/** An inference request that was read. */
export interface InferRequest {
  readonly id: string | undefined;
  readonly inputs: readonly WireTensor[];
  /** @default all */
  readonly outputs: readonly { readonly name: string; readonly binary: boolean }[] | undefined;
  /** Whether outputs that are not named are binary. */
  readonly binary: boolean;
}

/**
 * Reads a request.
 * @param jsonBytes what `Inference-Header-Content-Length` says; tensors lie behind
 * @throws {Refusal} 400
 */
export function readInfer(body: Uint8Array, jsonBytes: number = body.byteLength): InferRequest {
  const parsed = requestSchema.safeParse(toValue(body.subarray(0, jsonBytes)));
  if (!parsed.success) throw new Refusal(400, `The request cannot be read: ${z.prettifyError(parsed.error)}`);
  let at = jsonBytes;
  const inputs = parsed.data.inputs.map(({ name, shape, datatype, parameters, data }) => {
    if (!isDatatype(datatype)) throw new Refusal(400, `"${name}" has the datatype "${datatype}": a number was wanted`);
    const size = parameters?.binary_data_size;
    if (size === undefined) return fromJson(data ?? [], { name, datatype, shape });
    const bytes = body.subarray(at, at + size);
    at += size;
    return fromBinary(bytes, { name, datatype, shape });
  });
  if (at !== body.byteLength) throw new Refusal(400, `The body has ${body.byteLength} bytes, ${at} were announced`);
  const binary = parsed.data.parameters?.binary_data_output ?? false;
  const outputs = parsed.data.outputs?.map(({ name, parameters }) => ({
    name,
    binary: parameters?.binary_data ?? binary,
  }));
  return { id: parsed.data.id, inputs, outputs, binary };
}

/** An inference answer as it is sent. */
export interface InferAnswer {
  readonly body: Uint8Array;
  /** Where binary tensors follow. */
  readonly jsonBytes: number | undefined;
}

/** Writes an answer. @throws {Refusal} 400 when an output is asked for that there is none of */
export function writeInfer(
  { id, outputs, binary }: Pick<InferRequest, 'id' | 'outputs' | 'binary'>,
  about: { readonly name: string; readonly version: string; readonly parameters: object },
  tensors: readonly WireTensor[],
): InferAnswer {
  const wanted = outputs ?? tensors.map(({ name }) => ({ name, binary }));
  const behind: Uint8Array[] = [];
  const written = wanted.map((output) => {
    const tensor = tensors.find(({ name }) => name === output.name);
    if (tensor === undefined) throw new Refusal(400, `There is no output "${output.name}"`);
    const { name, datatype, shape } = tensor;
    if (!output.binary) return { name, datatype, shape, data: toJson(tensor) };
    const bytes = toBinary(tensor);
    behind.push(bytes);
    return { name, datatype, shape, parameters: { binary_data_size: bytes.byteLength } };
  });
  const { name, version, parameters } = about;
  const json = Buffer.from(
    JSON.stringify({
      model_name: name,
      model_version: version,
      ...(id !== undefined && { id }),
      parameters,
      outputs: written,
    }),
  );
  return { body: Buffer.concat([json, ...behind]), jsonBytes: behind.length === 0 ? undefined : json.byteLength };
}

function toValue(json: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch {
    throw new Refusal(400, 'The request cannot be read: it is no JSON');
  }
}
