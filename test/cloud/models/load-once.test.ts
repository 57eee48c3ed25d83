import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadOnce } from '../../../cloud/models/load-once.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { type Field, message } from '../../../cloud/models/protobuf-message.ts';
import { identityGraph, model, writeHoleModel } from './onnx-writer.ts';

const digits = new URL('../../../simulators/quickstart/digits/digits-mlp.onnx', import.meta.url).pathname;

test('loadOnce() gives the shapes of the outputs when the runtime loads the model', async () => {
  const { shapes } = await loadOnce({ file: digits, sizeBytes: 26_900 });
  expect(Object.fromEntries(shapes)).toEqual({ label: ['batch'], probabilities: ['batch', 10] });
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

test('loadOnce() ends a model that never comes to an end', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'laughs.onnx');
  await writeFile(file, laughingModel(40));
  await expect(loadOnce({ file, sizeBytes: 1000, timeoutMs: 1500 })).rejects.toThrow('it was not done after 1500 ms');
  expect(await runtimesOf(process.pid)).toEqual([]);
});

test('loadOnce() survives a runtime that crashes, and says how it ended', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'laughs.onnx');
  await writeFile(file, laughingModel(40));
  const loading = loadOnce({ file, sizeBytes: 1000 }).catch((error: unknown) => error);
  const [child] = await until(async () => {
    const found = await runtimesOf(process.pid);
    return found.length > 0 ? found : undefined;
  });
  process.kill(Number(child), 'SIGSEGV');
  expect(await loading).toMatchObject({
    code: 'MODEL_INVALID',
    message: 'Cannot load "laughs.onnx" in ONNX Runtime: the runtime ended with SIGSEGV',
  });
});

test('loadOnce() ends a model that eats memory when it is scored', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'greedy.onnx');
  const size = new Uint8Array(new BigInt64Array([10_000_000_000n]).buffer);
  const request = [{ name: 'x', type: 'float32' as const, shape: [1, 2], data: 'AAAAAAAAAAA=' }];
  const bytes = model(
    [5, message([1, 1], [2, 7], [8, 'size'], [9, size])],
    [1, message([1, 'size'], [2, 'large'], [4, 'ConstantOfShape'])],
    [1, message([1, 'large'], [2, 'max'], [4, 'ReduceMax'], [5, message([1, 'keepdims'], [3, 0], [20, 2])])],
    [1, message([1, 'x'], [1, 'max'], [2, 'y'], [4, 'Add'])],
    ...identityGraph.slice(1),
  );
  await writeFile(file, bytes);
  await expect(loadOnce({ file, sizeBytes: bytes.length, request })).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringMatching(/^Cannot score the sample with "greedy.onnx".*40000000000/s),
  });
});

test('loadOnce() ends a load that takes too long', async () => {
  await expect(loadOnce({ file: digits, sizeBytes: 26_900, timeoutMs: 1 })).rejects.toThrow(
    'it was not done after 1 ms, the longest it may take',
  );
});

test('loadOnce() fails with the reason of its signal when that is aborted', async () => {
  const controller = new AbortController();
  const loading = loadOnce({ file: digits, sizeBytes: 26_900, signal: controller.signal });
  controller.abort(new Error('enough'));
  await expect(loading).rejects.toThrow('enough');
});

/** Writes a model of one kilobyte whose functions call each other twice each: put into each other they are two to the power of `depth` nodes. */
function laughingModel(depth: number): Uint8Array {
  const opsets = [message([1, ''], [2, 13]), message([1, 'own'], [2, 1])];
  const functions = Array.from({ length: depth }, (_, at): Field => {
    const call = (from: string, to: string): Field => [
      7,
      at === 0 ? node(from, to, 'Identity', '') : node(from, to, `f${at - 1}`, 'own'),
    ];
    const uses = opsets.map((opset): Field => [9, opset]);
    return [25, message([1, `f${at}`], [4, 'x'], [5, 'y'], call('x', 'a'), call('a', 'y'), ...uses, [10, 'own'])];
  });
  const graph = message([1, node('x', 'y', `f${depth - 1}`, 'own')], [2, 'graph'], ...identityGraph.slice(1));
  return message([1, 8], ...opsets.map((opset): Field => [8, opset]), [7, graph], ...functions);
}

function node(from: string, to: string, operator: string, domain: string): Uint8Array {
  return message([1, from], [2, to], [4, operator], [7, domain]);
}

/** Finds the processes of the runtime that a process has started. */
async function runtimesOf(pid: number): Promise<readonly string[]> {
  const found: string[] = [];
  for (const child of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const status = await readFile(`/proc/${child}/stat`, 'utf8').catch(() => '');
    const [, parent] = status.slice(status.lastIndexOf(')') + 2).split(' ');
    const command = await readFile(`/proc/${child}/cmdline`, 'utf8').catch(() => '');
    if (parent === String(pid) && command.includes('workInThisProcess') && !command.startsWith('/bin/sh'))
      found.push(child);
  }
  return found;
}
