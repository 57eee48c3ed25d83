import type { ServiceModel } from '../../../shared/model/service-config.ts';
import type { Tensor } from '../../collect/tensor.ts';
import { TextBuffer } from '../../collect/text-buffer.ts';
import { writeFlat } from '../json/tensor-writer.ts';
import { writeBinary } from './binary-tensor.ts';
import { datatypeOf } from './infer-datatype.ts';
import { jsonBody } from './json-answer.ts';
import type { Answer } from './score-call.ts';

/** What an answer says beside its tensors. */
export interface InferAnswerOptions {
  readonly model: ServiceModel;
  /** Of the request, which the answer repeats. */
  readonly id: string | undefined;
  /** The outputs that the answer has, in its order. */
  readonly wanted: ReadonlyMap<string, { readonly binary: boolean }>;
}

/** Answers are written one at a time and copied when they are complete, so all can share the room. */
const text = new TextBuffer(64 * 1024);

/** Writes the answer to an Open Inference Protocol request: JSON, and behind it the outputs that are wanted as binary. */
export function writeInferAnswer(outputs: readonly Tensor[], options: InferAnswerOptions): Answer {
  const { model, id, wanted } = options;
  const given = [...wanted.keys()].flatMap((name) => outputs.filter((output) => output.name === name));
  const binaries: Uint8Array[] = [];
  text.clear();
  text.utf8(`{"model_name":${JSON.stringify(model.name)},"model_version":"${model.version}",`);
  if (id !== undefined) text.utf8(`"id":${JSON.stringify(id)},`);
  text.ascii('"outputs":[');
  for (const [index, output] of given.entries()) {
    const { name, type, shape } = output;
    if (index > 0) text.ascii(',');
    text.utf8(`{"name":${JSON.stringify(name)},"datatype":"${datatypeOf(type)}","shape":[${shape.join(',')}],`);
    if (wanted.get(name)?.binary === true) {
      const bytes = writeBinary(output);
      text.ascii(`"parameters":{"binary_data_size":${bytes.byteLength}}}`);
      binaries.push(bytes);
    } else {
      text.ascii('"data":');
      writeFlat(text, output);
      text.ascii('}');
    }
  }
  text.ascii(']}');
  if (binaries.length === 0)
    return { contentType: 'application/json', body: jsonBody(text, given, [model.name, id ?? '']) };
  const body = Buffer.concat([text.view(), ...binaries]);
  return { contentType: 'application/octet-stream', body, jsonBytes: text.length };
}
