import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadOnce } from '../../../cloud/models/load-once.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { type Field, message } from '../../../cloud/models/protobuf-message.ts';
import { identityGraph, model, tensorValue, writeHoleModel } from './onnx-writer.ts';

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
  const request = [{ name: 'x', type: 'float32' as const, shape: [1, 2], data: 'AAAAAAAAAAA=' }];
  const failure: unknown = await loadOnce({ file, sizeBytes: 0, request }).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'MODEL_INVALID' });
});

test('loadOnce() has large weights mapped, which takes no memory for them', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'huge.onnx');
  await writeHoleModel(file, 1_500_000_000);
  expect(Object.fromEntries((await loadOnce({ file, sizeBytes: 0 })).shapes)).toEqual({ y: ['batch', 2] });
});

test('loadOnce() says of the file itself what the runtime refuses of its weights', async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'short.onnx');
  // 100,000 floats were said, and half of their bytes are there.
  const short = message([1, 100_000], [2, 1], [8, 'weights'], [9, Buffer.alloc(200_000)]);
  const add = message([1, 'x'], [1, 'weights'], [2, 'y'], [4, 'Add']);
  const values = [tensorValue('x', 1, ['batch', 100_000]), tensorValue('y', 1, ['batch', 100_000])] as const;
  await writeFile(file, model([1, add], [5, short], [11, values[0]], [12, values[1]]));
  const failure = (await loadOnce({ file, sizeBytes: 200_000 }).catch((error: unknown) => error)) as Error;
  expect(failure).toMatchObject({ code: 'MODEL_INVALID' });
  expect(failure.message).toMatch(/^Cannot load "short.onnx" in ONNX Runtime: .*(size|length)/is);
  expect(failure.message).not.toMatch(/external/i);
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
