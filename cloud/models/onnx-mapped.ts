import { basename } from 'node:path';
import { type ByteRange, ProtobufFile, type WireField } from './protobuf-file.ts';
import { message } from './protobuf-message.ts';
import { bytesOf, delimited, joined, type Piece } from './protobuf-pieces.ts';

// Field numbers: onnx.proto3 of ONNX 1.18, https://github.com/onnx/onnx/blob/v1.18.0/onnx/onnx.proto3
const modelProto = { graph: 7 } as const;
const graphProto = { initializer: 5 } as const;
const tensorProto = { rawData: 9, externalData: 13, dataLocation: 14 } as const;
const entryProto = { key: 1, value: 2 } as const;
const external = 1;

/** Weights of so many bytes are worth it, and what is left may have so many. */
const weightBytesMin = 64 * 1024;
const graphBytesMax = 16 * 1024 * 1024;
/** Protobuf's largest message: what is larger is no model that the runtime loads. */
const fileBytesMax = 2 ** 31 - 1;

/**
 * Gives an ONNX file without its large weights: it says of each where in the file it lies, as ONNX has it for weights in other files. The runtime
 * then maps them instead of reading and copying them. Undefined where there are none, or too much would be left.
 * @throws {WireError} when the file is damaged
 * @see https://github.com/onnx/onnx/blob/v1.18.0/docs/ExternalData.md
 */
export function withMappedWeights(path: string): Uint8Array | undefined {
  using file = new ProtobufFile(path);
  if (file.whole.end > fileBytesMax) return undefined;
  const name = basename(path);
  let isAnyMapped = false;
  const pieces: Piece[] = [];
  for (const field of file.fields(file.whole)) {
    if (field.number !== modelProto.graph) pieces.push({ start: field.at, end: field.end });
    else {
      const graph = [...file.fields(field)].flatMap((part) => {
        const weights = part.number === graphProto.initializer ? rawWeights(file, part) : undefined;
        isAnyMapped ||= weights !== undefined;
        return weights === undefined ? [{ start: part.at, end: part.end }] : mapped(file, part, weights, name);
      });
      // Not spread: a graph may have more fields than a call may have arguments.
      for (const piece of delimited(modelProto.graph, graph)) pieces.push(piece);
    }
  }
  const bytes = pieces.reduce((sum, piece) => sum + bytesOf(piece), 0);
  if (!isAnyMapped || bytes > graphBytesMax) return undefined;
  return Buffer.concat(joined(pieces).map((piece) => (piece instanceof Uint8Array ? piece : file.bytes(piece))));
}

/** Gives where the bytes of a tensor lie, where they are large and in one place. */
function rawWeights(file: ProtobufFile, tensor: ByteRange): ByteRange | undefined {
  const fields = [...file.fields(tensor)];
  const [weights, ...more] = fields.filter(({ number }) => number === tensorProto.rawData);
  const isElsewhere = fields.some(({ number }) => number === tensorProto.dataLocation);
  if (weights === undefined || more.length > 0 || isElsewhere) return undefined;
  return bytesOf(weights) >= weightBytesMin ? weights : undefined;
}

function mapped(file: ProtobufFile, tensor: WireField, weights: ByteRange, name: string): readonly Piece[] {
  const rest = [...file.fields(tensor)].filter(({ number }) => number !== tensorProto.rawData);
  const place = { location: name, offset: String(weights.start), length: String(bytesOf(weights)) };
  const entries = Object.entries(place).map(
    ([key, value]) => [tensorProto.externalData, message([entryProto.key, key], [entryProto.value, value])] as const,
  );
  const kept = rest.map(({ at, end }) => ({ start: at, end }));
  return delimited(graphProto.initializer, [...kept, message(...entries, [tensorProto.dataLocation, external])]);
}
