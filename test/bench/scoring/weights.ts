import { type ByteRange, ProtobufFile, type WireField } from '../../../cloud/models/protobuf-file.ts';

/** Numbers of a model, row-major. */
interface Weights {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

// Field numbers: onnx.proto3, ModelProto.graph, GraphProto.initializer and TensorProto.
const graphField = 7;
const initializerField = 5;
const tensorFields = { dims: 1, name: 8, rawData: 9 } as const;

/** Reads the float32 weights of an ONNX file, by name: what a model in another runtime is made of. */
export function readWeights(path: string): Record<string, Weights> {
  using file = new ProtobufFile(path);
  const graph = only(file, file.whole, graphField);
  const tensors = all(file, graph, initializerField).map((tensor) => {
    const raw = file.bytes(only(file, tensor, tensorFields.rawData));
    const values = [...new Float32Array(Uint8Array.from(raw).buffer)];
    const shape = all(file, tensor, tensorFields.dims).map(({ integer }) => Number(integer));
    return [file.text(only(file, tensor, tensorFields.name)), { shape, values }] as const;
  });
  return Object.fromEntries(tensors);
}

function all(file: ProtobufFile, message: ByteRange, number: number): WireField[] {
  return [...file.fields(message)].filter((field) => field.number === number);
}

function only(file: ProtobufFile, message: ByteRange, number: number): WireField {
  const [field] = all(file, message, number);
  if (field === undefined) throw new Error(`the model has no field ${number} where it should`);
  return field;
}
