import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readOnnx } from '../../../cloud/models/onnx.ts';
import { isFerryError } from '../../../shared/errors.ts';
import { Random } from '../../random.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { message } from '../../../cloud/models/protobuf-message.ts';
import { damaged } from './damaged.ts';
import { identityGraph, model, tensorValue, writeHoleModel } from './onnx-writer.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 100_000);
const digits = new URL('../../../simulators/quickstart/digits/digits-mlp.onnx', import.meta.url).pathname;

test('readOnnx() reads signature, versions, producer and metadata of a real model', () => {
  expect(readOnnx(digits)).toEqual({
    signature: {
      inputs: [{ name: 'pixels', type: 'float32', shape: ['batch', 64] }],
      outputs: [
        { name: 'label', type: 'int64', shape: ['batch'] },
        { name: 'probabilities', type: 'float32', shape: ['batch', 10] },
      ],
    },
    irVersion: 8,
    opsets: { 'ai.onnx': 13 },
    producer: { name: 'scikit-learn', version: '1.2.1' },
    graphName: 'digits_mlp',
    domain: '',
    modelVersion: 0,
    documentation: '',
    metadata: { accuracy: '0.9861', dataset: 'UCI optical digits' },
    externalFiles: [],
    shapelessOutputs: [],
    zipMaps: [],
  });
});

test('readOnnx() leaves out initializers that are listed as inputs', async () => {
  const read = await readBytes(
    model(
      [5, message([8, 'weights'])],
      [15, message([1, message([8, 'sparse'])])],
      [11, tensorValue('weights', 1, [2])],
      [11, tensorValue('sparse', 1, [2])],
      ...identityGraph,
    ),
  );
  expect(read.signature.inputs.map(({ name }) => name)).toEqual(['x']);
});

test('readOnnx() tells static, symbolic and open dimensions, and scalars, apart', async () => {
  const read = await readBytes(model([11, tensorValue('x', 7, [3, 'height', '?', -1])], [12, tensorValue('y', 8, [])]));
  expect(read.signature).toEqual({
    inputs: [{ name: 'x', type: 'int64', shape: [3, 'height', '?', '?'] }],
    outputs: [{ name: 'y', type: 'string', shape: [] }],
  });
});

test('readOnnx() names all inputs and outputs that cannot be served at once', async () => {
  const map = message([1, 7], [2, message([1, message([1, 1])])]);
  const maps = message([1, 'probabilities'], [2, message([4, message([1, message([5, map])])])]);
  const failure = await failureOf(model([11, tensorValue('x', 16, [1])], [11, tensorValue('y', 1)], [12, maps]));
  expect(failure.code).toBe('MODEL_INVALID');
  expect(failure.message).toMatch(
    /input "x" has elements of bfloat16, one of .* was wanted; input "y" has no shape, .*; output "probabilities" is seq\(map\(int64, tensor\(float32\)\)\), a tensor was wanted/,
  );
});

test('readOnnx() names the files that hold weights outside, wherever in the graph these are', async () => {
  const external = (file: string): Uint8Array =>
    message([8, 'w'], [13, message([1, 'location'], [2, file])], [13, message([1, 'offset'], [2, '0'])], [14, 1]);
  const branch = message([1, 'then'], [6, message([5, external('branch.bin')])]);
  const constant = message([1, 'value'], [5, external('constant.bin')]);
  const read = await readBytes(
    model(
      [5, external('w.bin')],
      [5, external('v.bin')],
      [5, external('w.bin')],
      [1, message([4, 'If'], [5, branch])],
      [1, message([4, 'Constant'], [5, constant])],
      [15, message([1, external('sparse.bin')])],
      ...identityGraph,
    ),
  );
  expect(read.externalFiles).toEqual(['branch.bin', 'constant.bin', 'sparse.bin', 'v.bin', 'w.bin']);
});

test('readOnnx() refuses graphs that are nested without end', async () => {
  let graph = message(...identityGraph);
  for (let depth = 0; depth < 50; depth += 1) graph = message([1, message([5, message([6, graph])])], ...identityGraph);
  const failure = await failureOf(message([1, 8], [7, graph]));
  expect(failure.message).toContain('graphs are nested more than 100 messages deep');
});

test('readOnnx() puts a graph that comes in two pieces together', async () => {
  const [node, input, output] = identityGraph;
  const read = await readBytes(
    message([1, 8], [7, message(node ?? [1, ''], input ?? [1, ''])], [7, message(output ?? [1, ''])]),
  );
  expect(read.signature.outputs).toHaveLength(1);
});

test('readOnnx() reads a file of 5 GB by skipping its weights', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'big.onnx');
  await writeHoleModel(path, 5_000_000_000);
  const before = process.memoryUsage().rss;
  expect(readOnnx(path).signature.inputs).toHaveLength(1);
  expect(process.memoryUsage().rss - before).toBeLessThan(50e6);
});

test('readOnnx() says at which byte a model ends too early, wherever it was cut', async () => {
  const whole = await readFile(digits);
  for (let length = 1; length < whole.length; length += 997) {
    const failure = await failureOf(whole.subarray(0, length));
    expect(failure.code, `cut to ${length} bytes`).toBe('MODEL_INVALID');
    expect(failure.message).toMatch(/at byte \d+$/);
  }
});

test(`readOnnx() reads a broken model or says what is wrong with it, whatever the bytes (FUZZ_SEED=${seed})`, async () => {
  const random = new Random(seed);
  const whole = await readFile(digits);
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'model.onnx');
  const codes = new Set<string>();
  for (let round = 0; round < 2000; round += 1) {
    await writeFile(path, damaged(whole, random));
    try {
      readOnnx(path);
    } catch (error) {
      codes.add(isFerryError(error) ? error.code : `round ${round}: ${String(error)}`);
    }
  }
  expect([...codes]).toEqual(['MODEL_INVALID']);
});

test.each([
  ['an empty file', Buffer.alloc(0), 'the file is empty, at byte 0'],
  ['a text', Buffer.from('{"weights": [1, 2]}'), 'it is a text'],
  ['a ZIP archive', Buffer.from('PK\u0003\u0004rest'), 'it is a ZIP archive'],
  ['a Git LFS pointer', Buffer.from('version https://git-lfs.github.com/spec/v1\n'), 'it is a Git LFS pointer'],
  ['a group', Buffer.from([0x0b]), 'field 1 has the wire type 3'],
  ['field zero', Buffer.from([0x00, 0x00]), 'no field may have the number 0'],
  ['a number without end', Buffer.alloc(20, 0xff), 'a number has more than 10 bytes'],
  ['another message', message([4, 'x']), 'it has no version of the format (field 1)'],
  ['a model without a graph', message([1, 8]), 'it has no graph (field 7)'],
  ['a name that is no UTF-8', model([12, message([1, Buffer.from([0xff, 0xfe])])]), 'a text is no UTF-8'],
  ['a model without outputs', model(), 'it has no output'],
  ['a nameless output', model([12, message()]), 'output "" has no name'],
  ['an output without a type', model([12, message([1, 'y'])]), 'output "y" has no type'],
])('readOnnx() refuses %s', async (_what, bytes, words) => {
  const failure = await failureOf(bytes);
  expect(failure.code).toBe('MODEL_INVALID');
  expect(failure.message).toContain(words);
});

test('readOnnx() names a file that cannot be read', () => {
  expect(() => readOnnx('/no/such.onnx')).toThrow('Cannot read "/no/such.onnx": ENOENT');
});

async function readBytes(bytes: Uint8Array): Promise<ReturnType<typeof readOnnx>> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'model.onnx');
  await writeFile(path, bytes);
  return readOnnx(path);
}

async function failureOf(bytes: Uint8Array): Promise<{ code: string; message: string; next: string | undefined }> {
  try {
    await readBytes(bytes);
  } catch (error) {
    if (isFerryError(error)) return error;
    throw error;
  }
  throw new Error('The model was read');
}
