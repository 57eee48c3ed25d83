import { type ByteRange, type ProtobufFile, WireError } from './protobuf-file.ts';

// Field numbers: onnx.proto3 of ONNX 1.18, https://github.com/onnx/onnx/blob/v1.18.0/onnx/onnx.proto3
/** Fields that lead to tensors, by message: their number, and the message that they hold. */
const paths: Readonly<Record<Exclude<Kind, 'tensor'>, Readonly<Record<number, Kind>>>> = {
  model: { 7: 'graph', 25: 'function' },
  graph: { 1: 'node', 5: 'tensor', 15: 'sparse' },
  function: { 7: 'node' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse' },
  sparse: { 1: 'tensor', 2: 'tensor' },
};
const tensorProto = { externalData: 13 } as const;
const entryProto = { key: 1, value: 2 } as const;
/** Graphs stand in attributes of nodes of graphs, three messages a level; nobody writes more than a few levels. */
const depthMax = 100;

type Kind = 'model' | 'graph' | 'function' | 'node' | 'attribute' | 'sparse' | 'tensor';

/** Gives the files beside an ONNX file that hold tensors of it, wherever in it these are; sorted, as the file names them. */
export function findExternalFiles(file: ProtobufFile): readonly string[] {
  const found = new Set<string>();
  walk(file, 'model', file.whole, found, 0);
  return [...found].sort();
}

function walk(file: ProtobufFile, kind: Kind, message: ByteRange, found: Set<string>, depth: number): void {
  if (depth > depthMax) throw new WireError(`graphs are nested more than ${depthMax} messages deep`, message.start);
  for (const field of file.fields(message)) {
    if (kind === 'tensor') {
      if (field.number === tensorProto.externalData) addLocation(file, field, found);
      continue;
    }
    const next = field.delimited ? paths[kind][field.number] : undefined;
    if (next !== undefined) walk(file, next, field, found, depth + 1);
  }
}

function addLocation(file: ProtobufFile, entry: ByteRange, found: Set<string>): void {
  const fields = [...file.fields(entry)];
  const text = (number: number): string | undefined => {
    const field = fields.findLast((field) => field.number === number);
    return field && file.text(field);
  };
  if (text(entryProto.key) === 'location') found.add(text(entryProto.value) ?? '');
}
