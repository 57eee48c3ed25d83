import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadOnce } from '../../../cloud/models/load-once.ts';
import { readOnnx } from '../../../cloud/models/onnx.ts';
import { writeWithoutZipMaps } from '../../../cloud/models/onnx-zipmap.ts';
import { type Field, message } from '../../../cloud/models/protobuf-message.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { toRuntimeTensors } from '../../../cloud/models/sample-tensors.ts';
import { isFerryError } from '../../../shared/errors.ts';
import { makeServable } from '../../../cloud/models/servable.ts';
import { findModelFiles } from '../../../cloud/models/model-files.ts';
import { Random } from '../../random.ts';
import { damaged } from './damaged.ts';
import { digestOf } from '../../../shared/digest.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { workspaceRig } from '../workspace-rig.ts';
import { zipMapModel } from './zipmap-model.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 100_000);
const classifier = { labels: ['no', 'yes'], rows: 'n' };

test('the runtime for Node throws at the output of a ZipMap, and gives a tensor without', async () => {
  await using folder = await temporaryFolder();
  const [before, after] = [join(folder.path, 'before.onnx'), join(folder.path, 'after.onnx')];
  await writeFile(before, zipMapModel(classifier));
  await writeWithoutZipMaps(before, after);
  const { signature } = readOnnx(after);
  const request = toRuntimeTensors(
    {
      x: [
        [1, 0],
        [0, 1],
      ],
    },
    signature,
  );
  await expect(loadOnce({ file: before, sizeBytes: 0, request })).rejects.toThrow('Non tensor type');
  const { outputs = [] } = await loadOnce({ file: after, sizeBytes: 0, request });
  expect(outputs.map(({ name, shape }) => [name, shape])).toEqual([
    ['label', [2]],
    ['probabilities', [2, 2]],
  ]);
});

test.each([
  ['a symbolic first dimension', { ...classifier, rows: 'n' }, 'n'],
  ['a fixed one', { ...classifier, rows: 3 }, 3],
  ['an open one', { ...classifier, rows: '?' }, '?'],
  ['labels that are numbers', { labels: [-1, 7], rows: 'n' }, 'n'],
])('readOnnx() reads a model with %s after its ZipMap is gone', async (_what, options, rows) => {
  await using folder = await temporaryFolder();
  const [before, after] = [join(folder.path, 'before.onnx'), join(folder.path, 'after.onnx')];
  await writeFile(before, zipMapModel(options));
  expect(readOnnx(before)).toMatchObject({ zipMaps: ['probabilities'], signature: { outputs: [{ name: 'label' }] } });
  await writeWithoutZipMaps(before, after);
  const read = readOnnx(after);
  expect(read.zipMaps).toEqual([]);
  expect(read.signature.outputs).toEqual([
    { name: 'label', type: typeof options.labels[0] === 'string' ? 'string' : 'int64', shape: [rows] },
    { name: 'probabilities', type: 'float32', shape: [rows, 2] },
  ]);
  expect(read.metadata).toEqual({ author: 'me', 'zipmap.probabilities': JSON.stringify(options.labels) });
});

test('registerModel() packs a model without its ZipMap, always the same way, and keeps the digest of the original', async () => {
  await using rig = await workspaceRig();
  const file = join(rig.folder, 'classifier.onnx');
  const original = zipMapModel(classifier);
  await writeFile(file, original);
  await writeFile(join(rig.folder, 'sample.json'), '{"data": [[1, 0]]}');
  const register = () =>
    registerModel(rig.workspace, { path: file, name: 'c', sample: join(rig.folder, 'sample.json') });
  const [first, second] = [await register(), await register()];
  expect(first).toMatchObject({
    signature: { outputs: [{ name: 'label' }, { name: 'probabilities', shape: ['n', 2] }] },
    properties: { 'original.digest': digestOf(original) },
    sample: { input: { x: [[1, 0]] }, output: { label: ['no'], probabilities: [[0.7310586, 0.26894143]] } },
  });
  expect(second.digest).toBe(first.digest);
  expect(await readFile(file)).toEqual(Buffer.from(original));
  expect(await readdir(join(rig.workspace.folder, 'scratch'))).toEqual([]);
});

test('registerModel() refuses maps that no ZipMap gives, and a ZipMap whose model has weights elsewhere', async () => {
  await using rig = await workspaceRig();
  const file = join(rig.folder, 'classifier.onnx');
  await writeFile(file, zipMapModel({ ...classifier, operator: 'CastMap' }));
  await expect(registerModel(rig.workspace, { path: file, name: 'c' })).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining(
      'output "probabilities" is seq(map(string, tensor(float32))), a tensor was wanted',
    ),
  });
  const elsewhere: Field = [5, message([8, 'w'], [13, message([1, 'location'], [2, 'w.bin'])])];
  await writeFile(file, zipMapModel({ ...classifier, more: [elsewhere] }));
  await expect(registerModel(rig.workspace, { path: file, name: 'c' })).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    next: expect.stringContaining('zipmap'),
  });
});

test(`makeServable() writes a broken model anew or says what is wrong with it (FUZZ_SEED=${seed})`, async () => {
  await using rig = await workspaceRig();
  const random = new Random(seed);
  const whole = zipMapModel(classifier);
  const path = join(rig.folder, 'classifier.onnx');
  const codes = new Set<string>();
  let rewritten = 0;
  for (let round = 0; round < 500; round += 1) {
    await writeFile(path, damaged(whole, random));
    try {
      await using servable = await makeServable(rig.workspace, await findModelFiles(path));
      if (servable.originalDigest !== undefined) rewritten += 1;
    } catch (error) {
      codes.add(isFerryError(error) ? error.code : `round ${round}: ${String(error)}`);
    }
  }
  expect([...codes]).toEqual(['MODEL_INVALID']);
  expect(rewritten).toBeGreaterThan(0);
});
