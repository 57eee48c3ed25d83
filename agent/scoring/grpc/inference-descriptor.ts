import type { fromJSON } from '@grpc/proto-loader';

/** A field of a message: its number, its type, and whether it is repeated or a map. */
type Field =
  | readonly [id: number, type: string]
  | readonly [id: number, type: string, 'repeated']
  | readonly [id: number, type: string, 'map'];

/** The choices of an inference parameter, of which one is given. */
const parameterChoices = {
  bool_param: [1, 'bool'],
  int64_param: [2, 'int64'],
  string_param: [3, 'string'],
  double_param: [4, 'double'],
  uint64_param: [5, 'uint64'],
} as const satisfies Record<string, Field>;

/** The messages of the Open Inference Protocol over gRPC, package `inference`. */
const messages: Record<string, Record<string, Field>> = {
  ServerLiveRequest: {},
  ServerLiveResponse: { live: [1, 'bool'] },
  ServerReadyRequest: {},
  ServerReadyResponse: { ready: [1, 'bool'] },
  ModelReadyRequest: { name: [1, 'string'], version: [2, 'string'] },
  ModelReadyResponse: { ready: [1, 'bool'] },
  ServerMetadataRequest: {},
  ServerMetadataResponse: { name: [1, 'string'], version: [2, 'string'], extensions: [3, 'string', 'repeated'] },
  ModelMetadataRequest: { name: [1, 'string'], version: [2, 'string'] },
  TensorMetadata: { name: [1, 'string'], datatype: [2, 'string'], shape: [3, 'int64', 'repeated'] },
  ModelMetadataResponse: {
    name: [1, 'string'],
    versions: [2, 'string', 'repeated'],
    platform: [3, 'string'],
    inputs: [4, 'TensorMetadata', 'repeated'],
    outputs: [5, 'TensorMetadata', 'repeated'],
  },
  InferTensorContents: {
    bool_contents: [1, 'bool', 'repeated'],
    int_contents: [2, 'int32', 'repeated'],
    int64_contents: [3, 'int64', 'repeated'],
    uint_contents: [4, 'uint32', 'repeated'],
    uint64_contents: [5, 'uint64', 'repeated'],
    fp32_contents: [6, 'float', 'repeated'],
    fp64_contents: [7, 'double', 'repeated'],
    bytes_contents: [8, 'bytes', 'repeated'],
  },
  InferTensor: {
    name: [1, 'string'],
    datatype: [2, 'string'],
    shape: [3, 'int64', 'repeated'],
    parameters: [4, 'InferParameter', 'map'],
    contents: [5, 'InferTensorContents'],
  },
  InferRequestedOutputTensor: { name: [1, 'string'], parameters: [2, 'InferParameter', 'map'] },
  ModelInferRequest: {
    model_name: [1, 'string'],
    model_version: [2, 'string'],
    id: [3, 'string'],
    parameters: [4, 'InferParameter', 'map'],
    inputs: [5, 'InferTensor', 'repeated'],
    outputs: [6, 'InferRequestedOutputTensor', 'repeated'],
    raw_input_contents: [7, 'bytes', 'repeated'],
  },
  ModelInferResponse: {
    model_name: [1, 'string'],
    model_version: [2, 'string'],
    id: [3, 'string'],
    parameters: [4, 'InferParameter', 'map'],
    outputs: [5, 'InferTensor', 'repeated'],
    raw_output_contents: [6, 'bytes', 'repeated'],
  },
};

/** The calls of `GRPCInferenceService`; each takes `<call>Request` and gives `<call>Response`. */
const calls = ['ServerLive', 'ServerReady', 'ModelReady', 'ServerMetadata', 'ModelMetadata', 'ModelInfer'];

/**
 * The service as protobuf's JSON descriptor, which needs neither a file beside the bundle nor a parser.
 * @see https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
 */
export const inferenceDescriptor: Parameters<typeof fromJSON>[0] = {
  nested: {
    inference: {
      nested: {
        GRPCInferenceService: {
          methods: Object.fromEntries(
            calls.map((call) => [
              call,
              { requestType: `${call}Request`, responseType: `${call}Response`, comment: '' },
            ]),
          ),
        },
        InferParameter: {
          oneofs: { parameter_choice: { oneof: Object.keys(parameterChoices) } },
          fields: fieldsOf(parameterChoices),
        },
        ...Object.fromEntries(Object.entries(messages).map(([name, fields]) => [name, { fields: fieldsOf(fields) }])),
      },
    },
  },
};

function fieldsOf(fields: Readonly<Record<string, Field>>): Record<string, FieldDescriptor> {
  return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, fieldOf(field)]));
}

interface FieldDescriptor {
  readonly id: number;
  readonly type: string;
  readonly keyType?: string;
  readonly rule?: string;
  readonly options?: Record<string, unknown>;
}

function fieldOf([id, type, kind]: Field): FieldDescriptor {
  if (kind === 'map') return { keyType: 'string', type, id };
  // proto3 packs what is repeated.
  return kind === 'repeated' ? { rule: 'repeated', type, id, options: { packed: true } } : { type, id };
}
