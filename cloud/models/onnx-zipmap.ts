import { type Field, message } from './protobuf-message.ts';
import { type ByteRange, ProtobufFile, type WireField } from './protobuf-file.ts';
import { delimited, type Piece, writePieces } from './protobuf-pieces.ts';

// Field numbers: onnx.proto3 of ONNX 1.18, https://github.com/onnx/onnx/blob/v1.18.0/onnx/onnx.proto3
const modelProto = { graph: 7, opsetImport: 8, metadataProps: 14 } as const;
const graphProto = { node: 1, input: 11, output: 12 } as const;
const nodeProto = { input: 1, output: 2, name: 3, operator: 4, attribute: 5, domain: 7 } as const;
const attributeProto = { name: 1, integers: 8, texts: 9 } as const;
const valueInfoProto = { name: 1, type: 2 } as const;
const typeProto = { tensor: 1 } as const;
const tensorTypeProto = { elementType: 1, shape: 2 } as const;
const shapeProto = { dimension: 1 } as const;
const dimensionProto = { value: 1, parameter: 2 } as const;
const operatorSetProto = { domain: 1, version: 2 } as const;
const entryProto = { key: 1, value: 2 } as const;
const float32 = 1;

/** The operator set to name where a model names none of ONNX's own: the first that every later Identity agrees with. */
const identityOperatorSet = 13;

/**
 * An operator that makes a list of maps from label to probability out of a tensor of probabilities, as scikit-learn's converter puts
 * it last. Neither the scoring protocols nor ONNX Runtime for Node know such a value.
 * @see https://github.com/onnx/onnx/blob/v1.18.0/docs/Operators-ml.md#ai.onnx.ml.ZipMap
 */
export interface ZipMap {
  readonly input: string;
  readonly output: string;
  /** What the columns of the tensor stand for. */
  readonly labels: readonly (number | string)[];
  readonly node: WireField;
}

/** Finds the ZipMap operators of a graph that give an output of it. */
export function findZipMaps(file: ProtobufFile, graph: ByteRange): readonly ZipMap[] {
  const fields = [...file.fields(graph)];
  const outputs = new Set(
    fields
      .filter(({ number }) => number === graphProto.output)
      .map((value) => textOf(file, value, valueInfoProto.name)),
  );
  return fields
    .filter(({ number }) => number === graphProto.node)
    .flatMap((node) => readZipMap(file, node) ?? [])
    .filter(({ output }) => outputs.has(output));
}

function readZipMap(file: ProtobufFile, node: WireField): ZipMap | undefined {
  if (textOf(file, node, nodeProto.operator) !== 'ZipMap') return undefined;
  const labels: (number | string)[] = [];
  for (const attribute of file.fields(node)) {
    if (attribute.number !== nodeProto.attribute) continue;
    if (!/^classlabels_(int64|string)s$/.test(textOf(file, attribute, attributeProto.name))) continue;
    for (const value of file.fields(attribute)) {
      if (value.number === attributeProto.texts) labels.push(file.text(value));
      else if (value.number === attributeProto.integers) labels.push(...file.integers(value).map(Number));
    }
  }
  return {
    input: textOf(file, node, nodeProto.input),
    output: textOf(file, node, nodeProto.output),
    labels,
    node,
  };
}

/**
 * Writes an ONNX file whose ZipMap operators pass their tensor of probabilities on as it is, under the same output name: `[rows, labels]`.
 * The labels go into the file's metadata as `zipmap.<output>`, a JSON array in the order of the columns. The same file gives the same bytes.
 * Weights are streamed.
 */
export async function writeWithoutZipMaps(from: string, to: string): Promise<void> {
  using file = new ProtobufFile(from);
  const pieces: Piece[] = [];
  const zipMaps: ZipMap[] = [];
  let hasOperatorSet = false;
  for (const field of file.fields(file.whole)) {
    if (field.number === modelProto.opsetImport && textOf(file, field, operatorSetProto.domain) === '') {
      hasOperatorSet = true;
    }
    const found = field.number === modelProto.graph ? findZipMaps(file, field) : [];
    zipMaps.push(...found);
    if (found.length === 0) pieces.push({ start: field.at, end: field.end });
    else for (const piece of delimited(modelProto.graph, rewriteGraph(file, field, found))) pieces.push(piece);
  }
  const operatorSet: Field = [
    modelProto.opsetImport,
    message([operatorSetProto.domain, ''], [operatorSetProto.version, identityOperatorSet]),
  ];
  const labels = zipMaps.map((zipMap): Field => {
    const entry = message(
      [entryProto.key, `zipmap.${zipMap.output}`],
      [entryProto.value, JSON.stringify(zipMap.labels)],
    );
    return [modelProto.metadataProps, entry];
  });
  pieces.push(message(...(hasOperatorSet ? [] : [operatorSet]), ...labels));
  await writePieces(from, to, pieces);
}

function rewriteGraph(file: ProtobufFile, graph: ByteRange, zipMaps: readonly ZipMap[]): readonly Piece[] {
  const fields = [...file.fields(graph)];
  const firstInput = fields.find(({ number }) => number === graphProto.input);
  const rows = firstInput && firstDimension(file, firstInput);
  return fields.map((field): Piece => {
    const node = zipMaps.find((zipMap) => zipMap.node.at === field.at);
    if (node !== undefined) return message([graphProto.node, identityNode(file, node)]);
    const output =
      field.number === graphProto.output
        ? zipMaps.find((zipMap) => zipMap.output === textOf(file, field, valueInfoProto.name))
        : undefined;
    return output === undefined
      ? { start: field.at, end: field.end }
      : message([graphProto.output, tensorValue(output, rows)]);
  });
}

function identityNode(file: ProtobufFile, { input, output, node }: ZipMap): Uint8Array {
  const name = textOf(file, node, nodeProto.name);
  return message(
    [nodeProto.input, input],
    [nodeProto.output, output],
    [nodeProto.name, name],
    [nodeProto.operator, 'Identity'],
  );
}

/** Writes `float32[rows, labels]`; a ZipMap takes nothing else. */
function tensorValue({ output, labels }: ZipMap, rows: Uint8Array = message()): Uint8Array {
  const columns = message([dimensionProto.value, labels.length]);
  const shape = message([shapeProto.dimension, rows], [shapeProto.dimension, columns]);
  const tensor = message([tensorTypeProto.elementType, float32], [tensorTypeProto.shape, shape]);
  return message([valueInfoProto.name, output], [valueInfoProto.type, message([typeProto.tensor, tensor])]);
}

/** Gives the first dimension of an input as it is written: there are as many maps as rows go in. */
function firstDimension(file: ProtobufFile, value: ByteRange): Uint8Array | undefined {
  const path = [valueInfoProto.type, typeProto.tensor, tensorTypeProto.shape];
  let at: ByteRange | undefined = value;
  for (const number of path) at = at && [...file.fields(at)].findLast((field) => field.number === number);
  const dimension = at && [...file.fields(at)].find(({ number }) => number === shapeProto.dimension);
  if (dimension === undefined) return undefined;
  const size = [...file.fields(dimension)].findLast(({ number }) => number === dimensionProto.value)?.integer;
  const parameter = textOf(file, dimension, dimensionProto.parameter);
  // Some converters write -1 or 0 for what may be of any size.
  if (size !== undefined && size > 0n) return message([dimensionProto.value, size]);
  return parameter === '' ? undefined : message([dimensionProto.parameter, parameter]);
}

function textOf(file: ProtobufFile, message: ByteRange, number: number): string {
  const field = [...file.fields(message)].findLast((field) => field.number === number);
  return field === undefined ? '' : file.text(field);
}
