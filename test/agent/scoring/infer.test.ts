import { InferenceSession, Tensor as OnnxTensor } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { type TensorType, tensorTypes } from '../../../shared/model/signature.ts';
import { identityModel } from './made-models.ts';
import { readDigits, startScoring } from './scoring-rig.ts';

const shape = ['n', 2];

/** Values of each type that lose something where a number is handled as another type. */
const samples: Record<TensorType, { datatype: string; data: unknown[]; json: string; binary: Uint8Array }> = {
  bool: { datatype: 'BOOL', data: [true, false], json: '[true,false]', binary: Uint8Array.of(1, 0) },
  float16: {
    datatype: 'FP16',
    data: [0.1, 'NaN'],
    json: '[0.1,"NaN"]',
    binary: bytes(Float16Array.of(0.1, Number.NaN)),
  },
  float32: {
    datatype: 'FP32',
    data: [0.1, '-Infinity'],
    json: '[0.1,"-Infinity"]',
    binary: bytes(Float32Array.of(0.1, Number.NEGATIVE_INFINITY)),
  },
  float64: { datatype: 'FP64', data: [0.1, 5e-324], json: '[0.1,5e-324]', binary: bytes(Float64Array.of(0.1, 5e-324)) },
  int16: {
    datatype: 'INT16',
    data: [-32_768, 32_767],
    json: '[-32768,32767]',
    binary: bytes(Int16Array.of(-32_768, 32_767)),
  },
  int32: {
    datatype: 'INT32',
    data: [-(2 ** 31), 2 ** 31 - 1],
    json: '[-2147483648,2147483647]',
    binary: bytes(Int32Array.of(-(2 ** 31), 2 ** 31 - 1)),
  },
  int64: {
    datatype: 'INT64',
    data: ['-9223372036854775808', '9007199254740993'],
    json: '[-9223372036854775808,9007199254740993]',
    binary: bytes(BigInt64Array.of(-(2n ** 63n), 2n ** 53n + 1n)),
  },
  int8: { datatype: 'INT8', data: [-128, 127], json: '[-128,127]', binary: bytes(Int8Array.of(-128, 127)) },
  string: {
    datatype: 'BYTES',
    data: ['ä,"\n', ''],
    json: String.raw`["ä,\"\n",""]`,
    binary: Buffer.concat([Buffer.from([5, 0, 0, 0]), Buffer.from('ä,"\n'), Buffer.alloc(4)]),
  },
  uint16: { datatype: 'UINT16', data: [0, 65_535], json: '[0,65535]', binary: bytes(Uint16Array.of(0, 65_535)) },
  uint32: {
    datatype: 'UINT32',
    data: [0, 2 ** 32 - 1],
    json: '[0,4294967295]',
    binary: bytes(Uint32Array.of(0, 2 ** 32 - 1)),
  },
  uint64: {
    datatype: 'UINT64',
    data: [0, '18446744073709551615'],
    json: '[0,18446744073709551615]',
    binary: bytes(BigUint64Array.of(0n, 2n ** 64n - 1n)),
  },
  uint8: { datatype: 'UINT8', data: [0, 255], json: '[0,255]', binary: bytes(Uint8Array.of(0, 255)) },
};

const identities = tensorTypes.map((type) => ({ type, shape }));

function bytes(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

test.each(tensorTypes)('%s passes through JSON unchanged, in every digit', async (type) => {
  await using rig = await startScoring({ identities, only: [`identity-${type}`] });
  const { datatype, data, json } = samples[type];
  const response = await rig.post(`/v2/models/identity-${type}/infer`, {
    id: 'q',
    inputs: [{ name: 'x', shape: [1, 2], datatype, data }],
  });
  expect(await response.text()).toBe(
    `{"model_name":"identity-${type}","model_version":"1","id":"q","outputs":[{"name":"y","datatype":"${datatype}","shape":[1,2],"data":${json}}]}`,
  );
  const score = await rig.post('/score', { x: [data] });
  expect(await score.text()).toBe(`{"y":[${json}]}`);
});

test.each(tensorTypes)('%s passes through binary tensors unchanged, in every bit', async (type) => {
  await using rig = await startScoring({ identities, only: [`identity-${type}`] });
  const { datatype, binary } = samples[type];
  // One space more or less shifts the binary data to every alignment.
  for (let shift = 0; shift < 8; shift += 1) {
    const header = Buffer.from(
      `${' '.repeat(shift)}${JSON.stringify({
        parameters: { binary_data_output: true },
        inputs: [{ name: 'x', shape: [1, 2], datatype, parameters: { binary_data_size: binary.length } }],
      })}`,
    );
    const response = await rig.post(`/v2/models/identity-${type}/infer`, Buffer.concat([header, binary]), {
      'inference-header-content-length': String(header.length),
    });
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    const body = Buffer.from(await response.arrayBuffer());
    const jsonBytes = Number(response.headers.get('inference-header-content-length'));
    expect(JSON.parse(body.toString('utf8', 0, jsonBytes))).toMatchObject({
      outputs: [{ name: 'y', datatype, shape: [1, 2], parameters: { binary_data_size: binary.length } }],
    });
    expect(body.subarray(jsonBytes).equals(binary)).toBe(true);
  }
});

test('a scalar and an empty batch pass', async () => {
  await using rig = await startScoring({
    identities: [
      { type: 'float32', shape: [] },
      { type: 'int64', shape: ['n', 3] },
    ],
  });
  const scalar = { inputs: [{ name: 'x', shape: [], datatype: 'FP32', data: [2.5] }] };
  expect(await (await rig.post('/v2/models/identity-float32/infer', scalar)).json()).toMatchObject({
    outputs: [{ shape: [], data: [2.5] }],
  });
  const empty = { inputs: [{ name: 'x', shape: [0, 3], datatype: 'INT64', data: [] }] };
  expect(await (await rig.post('/v2/models/identity-int64/infer', empty)).json()).toMatchObject({
    outputs: [{ shape: [0, 3], data: [] }],
  });
});

test('answers are those of ONNX Runtime called directly', async () => {
  await using rig = await startScoring({ identities: [{ type: 'float32', shape: ['n', 2] }] });
  const session = await InferenceSession.create(identityModel('float32', ['n', 2]));
  const direct = await session.run({ x: new OnnxTensor('float32', Float32Array.of(1.5, -0), [1, 2]) });
  const scored = await (
    await rig.post(
      '/v2/models/identity-float32/infer',
      '{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1.5,-0]}]}',
    )
  ).text();
  expect(scored).toContain('"data":[1.5,-0]');
  expect(Object.is(direct['y']?.data[1], -0)).toBe(true);
});

test('data may be nested, stand before its datatype, and outputs may be chosen', async () => {
  await using rig = await startScoring();
  const { pixels } = await readDigits();
  const response = await rig.post('/v2/models/digits/versions/1/infer', {
    outputs: [{ name: 'label' }],
    inputs: [{ data: pixels.slice(0, 2), datatype: 'FP32', shape: [2, 64], name: 'pixels' }],
  });
  expect(await response.json()).toEqual({
    model_name: 'digits',
    model_version: '1',
    outputs: [{ name: 'label', datatype: 'INT64', shape: [2], data: [9, 4] }],
  });
});

const row = Array.from({ length: 64 }, () => 0);
const input = { name: 'pixels', shape: [1, 64], datatype: 'FP32', data: row };

test.each([
  ['an unknown input', { inputs: [{ ...input, name: 'x' }] }, 'has an input "x", of "pixels" was wanted'],
  ['another datatype', { inputs: [{ ...input, datatype: 'INT64' }] }, '"INT64", "FP32" was wanted'],
  ['no shape', { inputs: [{ name: 'pixels', datatype: 'FP32', data: row }] }, 'has no shape'],
  ['another shape', { inputs: [{ ...input, shape: [64] }] }, 'its shape is [64], [batch, 64] was wanted'],
  ['too few values', { inputs: [{ ...input, data: [1] }] }, 'it has 1 elements, 64 were wanted'],
  ['a negative dimension', { inputs: [{ ...input, shape: [-1, 64] }] }, 'a "shape" is not as the protocol has it'],
  ['no data', { inputs: [{ ...input, data: undefined }] }, 'has no data'],
  ['no inputs', { inputs: [] }, 'it has no "pixels"'],
  ['an unknown output', { inputs: [input], outputs: [{ name: 'z' }] }, 'asks for the output "z"'],
  [
    'binary data that ends early',
    { inputs: [{ ...input, data: undefined, parameters: { binary_data_size: 256 } }] },
    'ends early',
  ],
])('infer refuses %s', async (_, body, message) => {
  await using rig = await startScoring();
  const response = await rig.post('/v2/models/digits/versions/1/infer', body);
  expect(response.status).toBe(400);
  expect(((await response.json()) as { error: string }).error).toContain(message);
});

test('the paths of the protocol say what the server and its models are', async () => {
  await using rig = await startScoring();
  const json = async (path: string): Promise<unknown> => (await rig.fetch(path)).json();
  expect(await json('/v2')).toMatchObject({ name: 'modelferry', extensions: ['binary_tensor_data'] });
  expect(await json('/v2/health/live')).toEqual({ live: true });
  expect(await json('/v2/health/ready')).toEqual({ ready: true });
  expect(await json('/v2/models/digits/versions/2/ready')).toEqual({ name: 'digits', ready: true });
  expect(await json('/v2/models/digits')).toEqual({
    name: 'digits',
    versions: ['1', '2'],
    platform: 'onnxruntime_onnx',
    inputs: [{ name: 'pixels', datatype: 'FP32', shape: [-1, 64] }],
    outputs: [
      { name: 'label', datatype: 'INT64', shape: [-1] },
      { name: 'probabilities', datatype: 'FP32', shape: [-1, 10] },
    ],
  });
  const unknown = await rig.fetch('/v2/models/digits/versions/3');
  expect([unknown.status, await unknown.json()]).toEqual([
    404,
    { error: 'Cannot find the model "digits:3": the service has "digits:1", "digits:2"' },
  ]);
});
