import type { ScoredModel } from '../../../shared/model/service-config.ts';
import type { TensorSpec } from '../../../shared/model/signature.ts';
import type { Tensor } from '../../collect/tensor.ts';
import { TextBuffer } from '../../collect/text-buffer.ts';
import { JsonCursor } from '../json/json-cursor.ts';
import { readNested } from '../json/tensor-reader.ts';
import { writeNested } from '../json/tensor-writer.ts';
import { elementsOfOneRow, inSignatureOrder, toFeed } from '../model/feeds.ts';
import { jsonBody } from './json-answer.ts';
import type { Answer, ParsedRequest } from './score-call.ts';

/** What the input of a model that has only one may be called too. */
export const inputAliases = ['data', 'input_data'] as const;

/**
 * Reads the body of `/score`: a JSON object with a member of nested arrays for each input of the model. Members of other names
 * are passed over, as Azure ML does it.
 * @throws {FerryError} REQUEST_INVALID
 */
export function parseScoreBody(body: Uint8Array, model: ScoredModel): ParsedRequest {
  const cursor = new JsonCursor(body);
  const given = new Map<string, Tensor>();
  cursor.object((name) => {
    const spec = inputNamed(model, name);
    if (spec === undefined) cursor.skip();
    else given.set(spec.name, toFeed(spec, readNested(cursor, spec.type, elementsOfOneRow(spec))));
  });
  cursor.end();
  return { feeds: inSignatureOrder(model.signature, given), answer: writeScoreAnswer };
}

function inputNamed({ signature }: ScoredModel, name: string): TensorSpec | undefined {
  const { inputs } = signature;
  for (const input of inputs) if (input.name === name) return input;
  if (inputs.length !== 1) return undefined;
  return (inputAliases as readonly string[]).includes(name) ? inputs[0] : undefined;
}

const quote = 34;
const comma = 44;
const colon = 58;
const backslash = 92;
const openBrace = 123;
const closeBrace = 125;

/** Answers are written one at a time and copied when they are complete, so all can share the room. */
const text = new TextBuffer(64 * 1024);

function writeName(name: string): void {
  if (isPlain(name)) {
    text.byte(quote);
    text.ascii(name);
    text.byte(quote);
  } else text.utf8(JSON.stringify(name));
  text.byte(colon);
}

/** Says whether nothing in a name needs an escape. */
function isPlain(name: string): boolean {
  for (let at = 0; at < name.length; at += 1) {
    const unit = name.charCodeAt(at);
    if (unit < 32 || unit > 126 || unit === quote || unit === backslash) return false;
  }
  return true;
}

/** Writes `{"<output>": …}` for all outputs. */
export function writeScoreAnswer(outputs: readonly Tensor[]): Answer {
  text.clear();
  text.byte(openBrace);
  let isFirst = true;
  for (const output of outputs) {
    if (!isFirst) text.byte(comma);
    isFirst = false;
    writeName(output.name);
    writeNested(text, output);
  }
  text.byte(closeBrace);
  return { contentType: 'application/json', body: jsonBody(text, outputs) };
}
