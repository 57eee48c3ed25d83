import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadOnce } from '../../../cloud/models/load-once.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { identityGraph, message, model, writeHoleModel } from './onnx-writer.ts';

const digits = new URL('../../../simulators/quickstart/digits/digits-mlp.onnx', import.meta.url).pathname;

test('loadOnce() comes back when the runtime loads the model', async () => {
  await expect(loadOnce({ file: digits, sizeBytes: 26_900 })).resolves.toBeUndefined();
});

test('loadOnce() gives the reason of the runtime when it does not load it', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'odd.onnx');
  await writeFile(file, model([1, message([1, 'x'], [2, 'y'], [4, 'NoSuchOperator'])], ...identityGraph.slice(1)));
  await expect(loadOnce({ file, sizeBytes: 100 })).rejects.toThrow(
    /^Cannot load "odd.onnx" in ONNX Runtime: .*NoSuchOperator/,
  );
});

test('loadOnce() ends a model that takes too much memory', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'huge.onnx');
  await writeHoleModel(file, 1_500_000_000);
  const failure: unknown = await loadOnce({ file, sizeBytes: 0 }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'MODEL_INVALID' });
});

test('loadOnce() ends a load that takes too long', async () => {
  await expect(loadOnce({ file: digits, sizeBytes: 26_900, timeoutMs: 1 })).rejects.toThrow(
    'it was not loaded after 1 ms, the longest it may take',
  );
});

test('loadOnce() fails with the reason of its signal when that is aborted', async () => {
  const controller = new AbortController();
  const loading = loadOnce({ file: digits, sizeBytes: 26_900, signal: controller.signal });
  controller.abort(new Error('enough'));
  await expect(loading).rejects.toThrow('enough');
});
