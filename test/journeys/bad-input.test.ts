import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { type FerryRun, runFerry } from '../ferry.ts';
import { startLocalWorld } from '../local-world.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const model = fileURLToPath(new URL('../../simulators/quickstart/digits/digits-mlp.onnx', import.meta.url));

test.each([
  ['a file that is no ONNX file', 'text', 'MODEL_INVALID', 'MODEL.onnx'],
  ['a truncated ONNX file', 'truncated', 'MODEL_INVALID', 'byte'],
])('ferry model register refuses %s and leaves the workspace as it was', async (_, content, code, named) => {
  await using folder = await temporaryFolder();
  const whole = await readFile(model);
  await writeFile(join(folder.path, 'MODEL.onnx'), content === 'text' ? 'this is no model' : whole.subarray(0, 5_000));
  await ferryIn(folder.path, ['workspace', 'init']);
  const run = await ferryIn(folder.path, ['model', 'register', 'MODEL.onnx', '--name', 'digits']);
  expectFailure(run, code, named);
  expect(await listed(folder.path, 'model')).toEqual([]);
});

test.each([
  [['--name', 'no spaces'], 'NAME_INVALID', '"no spaces"'],
  [['--name', 'digits', '--tag', 'bad key=1'], 'TAG_INVALID', '"bad key"'],
])('ferry model register refuses %j and leaves the workspace as it was', async (options, code, named) => {
  await using folder = await temporaryFolder();
  await ferryIn(folder.path, ['workspace', 'init']);
  expectFailure(await ferryIn(folder.path, ['model', 'register', model, ...options]), code, named);
  expect(await listed(folder.path, 'model')).toEqual([]);
});

test('ferry image create refuses a model that is not registered', async () => {
  await using folder = await temporaryFolder();
  await ferryIn(folder.path, ['workspace', 'init']);
  const run = await ferryIn(folder.path, ['image', 'create', '--name', 'digits', '--model', 'digits:7']);
  expectFailure(run, 'MODEL_NOT_FOUND', 'digits:7');
  expect(await listed(folder.path, 'image')).toEqual([]);
});

test('when the local world is down, each command says what it cannot reach, and where', async () => {
  await using folder = await temporaryFolder();
  const world = await startLocalWorld(folder.path);
  await copyFile(model, join(folder.path, 'digits.onnx'));
  await ferryIn(folder.path, ['model', 'register', 'digits.onnx', '--name', 'digits']);
  await world.end('SIGTERM');
  const { registry, hub, storage } = world.document;

  const image = await ferryIn(folder.path, ['image', 'create', '--name', 'digits', '--model', 'digits:1']);
  expectFailure(image, 'REGISTRY_UNREACHABLE', registry);
  expect(await listed(folder.path, 'image')).toEqual([]);
  expectFailure(await ferryIn(folder.path, ['edge', 'device', 'add', 'd1']), 'HUB_UNREACHABLE', hub.hostName);
  expectFailure(await ferryIn(folder.path, ['data', 'list']), 'STORAGE_UNREACHABLE', storage.blobEndpoint);
});

test('an agent with a wrong key says so and ends', async () => {
  await using folder = await temporaryFolder();
  await using world = await startLocalWorld(folder.path);
  await ferryIn(folder.path, ['edge', 'device', 'add', 'd1', '--connection-string-file', 'device.txt']);
  const right = await readFile(join(folder.path, 'device.txt'), 'utf8');
  const wrongKey = Buffer.alloc(32, 'x').toString('base64');
  await writeFile(join(folder.path, 'device.txt'), right.replace(/SharedAccessKey=.*/, `SharedAccessKey=${wrongKey}`));
  const connection = ['--connection-string-file', 'device.txt', '--ca', world.document.caFile];
  const run = await ferryIn(folder.path, ['agent', 'run', ...connection, '--state', 'agent', '--engine', 'process']);
  expectFailure(run, 'HUB_UNAUTHORIZED', world.document.hub.hostName);
  expect(run.stderr).not.toContain(wrongKey);
});

function ferryIn(folder: string, args: readonly string[]): Promise<FerryRun> {
  return runFerry(args, { cwd: folder });
}

async function listed(folder: string, noun: string): Promise<unknown> {
  return JSON.parse((await ferryIn(folder, [noun, 'list', '--json'])).stdout);
}

function expectFailure({ code, stdout, stderr }: FerryRun, errorCode: string, named: string): void {
  expect(stderr).toMatch(new RegExp(`^error ${errorCode}: Cannot `, 'm'));
  expect(stderr).toContain(named);
  expect(stdout).toBe('');
  expect(code).toBe(1);
}
