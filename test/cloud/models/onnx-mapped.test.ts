import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { askRuntime, type RuntimeAnswer } from '../../../cloud/models/runtime-process.ts';
import { withMappedWeights } from '../../../cloud/models/onnx-mapped.ts';
import { message } from '../../../cloud/models/protobuf-message.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { digitsFile } from '../workspace-rig.ts';
import { identityGraph, model, tensorValue, writeExternalModel, writeHoleModel } from './onnx-writer.ts';

const columns = 20_000;

test('withMappedWeights() gives a small model that the runtime runs to the same answer', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'sum.onnx');
  const weights = new Float32Array(columns).map((_, at) => at / 7);
  await writeFile(file, addition(Buffer.from(weights.buffer)));
  const mapped = withMappedWeights(file);
  expect(mapped?.byteLength).toBeLessThan(1000);
  const ones = Buffer.from(new Float32Array(columns).fill(1).buffer).toString('base64');
  const run = (part: { readonly mapped?: string }): Promise<RuntimeAnswer> =>
    askRuntime(
      {
        loads: [{ file, level: 'basic', ...part }],
        requests: [[{ name: 'x', type: 'float32', shape: [1, columns], data: ones }]],
      },
      { timeoutMs: 30_000, memoryBytes: 2e9 },
    );
  const answer = await run({ mapped: Buffer.from(mapped ?? '').toString('base64') });
  expect(answer.failure).toBeUndefined();
  expect(answer).toEqual(await run({}));
});

test('withMappedWeights() takes a graph of more nodes than a call may have arguments', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'many.onnx');
  const node = message([1, message([1, 'x'], [2, 'unused'], [4, 'Identity'])]);
  const weights = message([1, 100_000], [2, 2], [8, 'weights'], [9, Buffer.alloc(100_000)]);
  const nodes = Array.from({ length: 300_000 }, () => node);
  const graph = Buffer.concat([message(...identityGraph), ...nodes, message([5, weights])]);
  await writeFile(file, message([1, 8], [8, message([2, 13])], [7, graph]));
  expect(withMappedWeights(file)?.byteLength).toBeGreaterThan(nodes.length * node.byteLength);
});

test.each([
  ['without large weights', async () => digitsFile],
  ['whose weights lie in other files', externalModel],
  ['that is larger than protobuf has it', (folder: string) => holeModel(folder, 2 ** 31)],
])('withMappedWeights() leaves a model %s as it is', async (_what, make) => {
  await using folder = await temporaryFolder();
  expect(withMappedWeights(await make(folder.path))).toBeUndefined();
});

test('withMappedWeights() leaves weights that are there in two pieces, of which the last counts', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'twice.onnx');
  const bytes = randomBytes(100_000);
  const twice = message([1, 100_000], [2, 2], [8, 'weights'], [9, bytes], [9, bytes]);
  await writeFile(file, model(...identityGraph, [5, twice]));
  expect(withMappedWeights(file)).toBeUndefined();
});

const wideValues = [
  [11, tensorValue('x', 1, ['batch', columns])],
  [12, tensorValue('y', 1, ['batch', columns])],
] as const;

/** Writes a model `y = x + w`. */
function addition(weights: Uint8Array): Uint8Array {
  const tensor = message([1, columns], [2, 1], [8, 'w'], [9, weights]);
  const add = message([1, 'x'], [1, 'w'], [2, 'y'], [4, 'Add']);
  return model([1, add], [5, tensor], ...wideValues);
}

async function externalModel(folder: string): Promise<string> {
  await writeExternalModel(folder);
  return join(folder, 'sum.onnx');
}

async function holeModel(folder: string, bytes: number): Promise<string> {
  const file = join(folder, 'hole.onnx');
  await writeHoleModel(file, bytes);
  return file;
}
