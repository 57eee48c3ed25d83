import { InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { type TensorType, tensorTypes } from '../../../shared/model/signature.ts';
import { Random } from '../../random.ts';
import { connectGrpc, type InferenceClient } from './grpc/grpc-rig.ts';
import { identityModel } from './made-models.ts';
import { type ScoringRig, startScoring } from './scoring-rig.ts';

const seed = Number(process.env['TENSOR_SEED'] ?? Date.now() % 100_000);

/** Thirteen models are tried at the start, which takes its time on a busy machine. */
const passes = { timeout: 120_000 };

type Numeric = Exclude<TensorType, 'string'>;
type Elements = ArrayBufferView & ArrayLike<number | bigint>;

/** How each type lies in memory, what the protocol calls it, where gRPC has it, and its values that are easily lost. */
const kinds = {
  bool: [Uint8Array, 'BOOL', 'bool_contents', [0, 1]],
  float16: [Float16Array, 'FP16', undefined, [NaN, Infinity, -Infinity, -0, 0.1, 65_504, 5.960464477539063e-8]],
  float32: [Float32Array, 'FP32', 'fp32_contents', [NaN, Infinity, -Infinity, -0, 0.1, 3.4028234663852886e38, 1e-45]],
  float64: [Float64Array, 'FP64', 'fp64_contents', [NaN, Infinity, -Infinity, -0, 0.1, Number.MAX_VALUE, 5e-324]],
  int16: [Int16Array, 'INT16', 'int_contents', [-32_768, -1, 0, 32_767]],
  int32: [Int32Array, 'INT32', 'int_contents', [-(2 ** 31), -1, 0, 2 ** 31 - 1]],
  int64: [BigInt64Array, 'INT64', 'int64_contents', [-(2n ** 63n), -1n, 2n ** 53n + 1n, 2n ** 63n - 1n]],
  int8: [Int8Array, 'INT8', 'int_contents', [-128, -1, 0, 127]],
  uint16: [Uint16Array, 'UINT16', 'uint_contents', [0, 65_535]],
  uint32: [Uint32Array, 'UINT32', 'uint_contents', [0, 2 ** 32 - 1]],
  uint64: [BigUint64Array, 'UINT64', 'uint64_contents', [0n, 2n ** 53n + 1n, 2n ** 64n - 1n]],
  uint8: [Uint8Array, 'UINT8', 'uint_contents', [0, 255]],
} as const;

const texts = ['', 'ä,"\n\\', '\u{1F600}', '\u0001', 'x'.repeat(300)];

/** A tensor in every form that it has on the wire. */
interface Sample {
  readonly datatype: string;
  readonly shape: readonly number[];
  /** Of the binary extension, which `raw_input_contents` are too. */
  readonly binary: Buffer;
  readonly json: readonly unknown[];
  readonly contents: object | undefined;
  /** What ONNX Runtime takes. */
  readonly onnx: OnnxTensor;
}

/** Makes a tensor of a type: first values that are easily lost, from another one each time, then random bits. */
function sampleOf(
  type: TensorType,
  shape: readonly number[],
  { random, round }: { random: Random; round: number },
): Sample {
  const count = shape.reduce((product, size) => product * size, 1);
  if (type === 'string') {
    const values = Array.from({ length: count }, (_, index) => texts[(index + round) % texts.length] ?? '');
    const bytes = values.map((text) => Buffer.from(text));
    return {
      datatype: 'BYTES',
      shape,
      binary: textsToBinary(values),
      json: values,
      contents: { bytes_contents: bytes },
      onnx: new OnnxTensor('string', values, shape),
    };
  }
  const [Elements, datatype, field, edges] = kinds[type];
  const noise = Uint8Array.from(random.bytes(count * Elements.BYTES_PER_ELEMENT));
  const wanted = Array.from<number | bigint>(new Elements(noise.buffer)).map((value, index) => {
    const edge = index < edges.length ? edges[(index + round) % edges.length] : undefined;
    // Of the many NaNs, the one that a number is: JSON and contents know no other.
    if (Number.isNaN(value)) return Number.NaN;
    return edge ?? (type === 'bool' ? Number(value) % 2 : value);
  });
  const elements = new (Elements as unknown as new (values: unknown) => Elements)(wanted);
  const values = Array.from(elements);
  return {
    datatype,
    shape,
    binary: Buffer.from(elements.buffer as ArrayBuffer),
    json: values.map((value) => toJson(type, value)),
    contents: field === undefined ? undefined : { [field]: values.map((value) => toProto(type, value)) },
    onnx: toOnnx(type, elements, shape),
  };
}

function textsToBinary(values: readonly string[]): Buffer {
  return Buffer.concat(values.flatMap((text) => [lengthOf(Buffer.from(text)), Buffer.from(text)]));
}

/** JSON text that stands for itself; V8 has it, TypeScript's library does not yet. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON: (this: void, text: string) => unknown };

function lengthOf(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return length;
}

function toJson(type: Numeric, value: number | bigint): unknown {
  if (type === 'bool') return value === 1;
  if (typeof value === 'bigint') return rawJson(String(value));
  if (!Number.isFinite(value)) return String(value);
  return Object.is(value, -0) ? rawJson('-0') : value;
}

function toProto(type: Numeric, value: number | bigint): unknown {
  if (type === 'bool') return value === 1;
  return typeof value === 'bigint' ? String(value) : value;
}

/** ONNX Runtime's binding takes half floats as the 16 bits that they are. */
function toOnnx(type: Numeric, elements: Elements, shape: readonly number[]): OnnxTensor {
  if (type !== 'float16') return new OnnxTensor(type as 'float32', elements as Float32Array, shape);
  const data = new Uint16Array(elements.buffer as ArrayBuffer, elements.byteOffset, elements.length);
  return { type, dims: shape, data, location: 'cpu', size: data.length } as unknown as OnnxTensor;
}

/** Gives the bytes of what ONNX Runtime gave. */
function bytesOfOnnx({ data }: OnnxTensor): Buffer {
  if (!Array.isArray(data)) {
    const { buffer, byteOffset, byteLength } = data as Elements;
    return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
  }
  return textsToBinary(data);
}

async function overJson(rig: ScoringRig, type: TensorType, { datatype, shape, json, binary }: Sample): Promise<void> {
  const path = `/v2/models/identity-${type}/infer`;
  const input = { name: 'x', datatype, shape, data: json };
  const answer = await rig.post(path, { inputs: [input], parameters: { binary_data_output: true } });
  const body = Buffer.from(await answer.arrayBuffer());
  const jsonBytes = Number(answer.headers.get('inference-header-content-length'));
  expect([type, body.subarray(jsonBytes).toString('hex')]).toEqual([type, binary.toString('hex')]);
}

async function overBinary(rig: ScoringRig, type: TensorType, { datatype, shape, json, binary }: Sample): Promise<void> {
  const input = { name: 'x', datatype, shape, parameters: { binary_data_size: binary.length } };
  const header = Buffer.from(JSON.stringify({ inputs: [input] }));
  const answer = await rig.post(`/v2/models/identity-${type}/infer`, Buffer.concat([header, binary]), {
    'inference-header-content-length': String(header.length),
    'content-type': 'application/octet-stream',
  });
  const text = await answer.text();
  expect(text).toContain(`"datatype":"${datatype}","shape":[${shape.join(',')}],`);
  // As text, for no digit may get lost: what was sent as JSON comes back as the same JSON.
  const data = text.slice(text.indexOf('"data":') + '"data":'.length, -'}]}'.length);
  if (type === 'float16' || type === 'float32' || type === 'float64') {
    const Elements = kinds[type][0];
    const values = (JSON.parse(data) as (number | string)[]).map(Number);
    const back = Buffer.from(new Elements(values).buffer);
    expect([type, back.toString('hex')]).toEqual([type, binary.toString('hex')]);
  } else expect([type, data]).toEqual([type, JSON.stringify(json)]);
}

async function overGrpc(client: InferenceClient, type: TensorType, sample: Sample): Promise<void> {
  const { datatype, shape, binary, contents } = sample;
  const tensor = { name: 'x', datatype, shape };
  const model = { model_name: `identity-${type}`, model_version: '1', id: 'q' };
  const raw = await client.call('ModelInfer', { ...model, inputs: [tensor], raw_input_contents: [binary] });
  expect([raw.code, raw.message]).toEqual([0, '']);
  expect(raw.body).toMatchObject({ ...model, outputs: [{ name: 'y', datatype, shape: shape.map(String) }] });
  expect((raw.body['raw_output_contents'] as Buffer[])[0]?.toString('hex')).toBe(binary.toString('hex'));
  if (contents === undefined) return;
  const typed = await client.call('ModelInfer', { ...model, inputs: [{ ...tensor, contents }] });
  expect([typed.code, typed.message]).toEqual([0, '']);
  const [output] = typed.body['outputs'] as { contents: Record<string, unknown[]> }[];
  for (const [field, values] of Object.entries(contents)) {
    const given = output?.contents[field] ?? [];
    expect(given).toHaveLength(values.length);
    const isAll = given.every((value, index) => isSame(value, values[index]));
    expect([type, isAll]).toEqual([type, true]);
  }
}

function isSame(left: unknown, right: unknown): boolean {
  if (Buffer.isBuffer(left) && Buffer.isBuffer(right)) return left.equals(right);
  return Object.is(left, right);
}

test(
  `every type passes over JSON, binary tensors and gRPC as through ONNX Runtime (seed ${seed})`,
  passes,
  async () => {
    await expectSame(
      ['n', 'm'],
      [
        [1, 9],
        [5, 2],
        [300, 7],
        [0, 4],
        [4, 0],
      ],
    );
  },
);

test(`a scalar of every type passes, whichever value it has (seed ${seed})`, passes, async () => {
  await expectSame([], [[], [], [], [], [], [], []]);
});

/** Scores tensors of every type and these shapes in all forms, and compares each answer with ONNX Runtime's own. */
async function expectSame(declared: readonly string[], shapes: readonly (readonly number[])[]): Promise<void> {
  const random = new Random(seed);
  const identities = tensorTypes.map((type) => ({ type, shape: declared }));
  const only = tensorTypes.map((type) => `identity-${type}`);
  await using rig = await startScoring({
    identities,
    only,
    environment: { MODELFERRY_GRPC_PORT: '0', WORKER_COUNT: '1' },
  });
  using client = connectGrpc(rig.server.grpcPort);
  for (const type of tensorTypes) {
    const session = await InferenceSession.create(identityModel(type, declared));
    for (const [round, shape] of shapes.entries()) {
      const sample = sampleOf(type, shape, { random, round });
      const direct = (await session.run({ x: sample.onnx }))['y'];
      expect(direct === undefined ? undefined : bytesOfOnnx(direct).toString('hex')).toBe(
        sample.binary.toString('hex'),
      );
      await overBinary(rig, type, sample);
      await overJson(rig, type, sample);
      await overGrpc(client, type, sample);
    }
  }
}
