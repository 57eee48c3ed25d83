import { copyFile, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { extract } from 'tar-stream';
import { expect, test } from 'vitest';
import { downloadModel } from '../../../cloud/models/download.ts';
import { findModel, listModels } from '../../../cloud/models/model.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { runFerry } from '../../ferry.ts';
import { Random } from '../../random.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { killedFerry } from '../killed-ferry.ts';
import { canMount, smallDisk } from '../small-disk.ts';
import { digitsFile, logisticFile, workspaceRig } from '../workspace-rig.ts';
import { type Field, message } from '../../../cloud/models/protobuf-message.ts';
import { damaged } from './damaged.ts';
import { identityGraph, model, tensorValue, writeExternalModel, writeHoleModel } from './onnx-writer.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 100_000);

test('registerModel() keeps a model as version 1 with its signature, tags and properties', async () => {
  await using rig = await workspaceRig();
  const clock = { nowMs: () => 0, monotonicMs: () => 0, sleep: () => Promise.resolve() };
  const registered = await registerModel(
    rig.workspace,
    { path: digitsFile, name: 'digits', description: 'digits', tags: { area: 'vision' }, properties: { run: '7' } },
    { clock },
  );
  expect(registered).toMatchObject({
    name: 'digits',
    version: 1,
    sizeBytes: 26_900,
    format: 'onnx',
    mainPath: '/models/digits/digits-mlp.onnx',
    files: [{ path: 'digits-mlp.onnx', sizeBytes: 26_900 }],
    description: 'digits',
    tags: { area: 'vision' },
    properties: { run: '7' },
    createdAt: '1970-01-01T00:00:00.000Z',
  });
  expect(findModel(rig.workspace.database, { name: 'digits' })).toEqual(registered);
});

test('registerModel() keeps the same bytes once, and gives them a new version all the same', async () => {
  await using rig = await workspaceRig();
  const first = await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const blobs = await readdir(join(rig.workspace.layoutFolder, 'blobs/sha256'));
  const second = await registerModel(rig.workspace, { path: digitsFile, name: 'digits', tags: { again: 'yes' } });
  expect([first.version, second.version]).toEqual([1, 2]);
  expect(second.digest).toBe(first.digest);
  expect(await readdir(join(rig.workspace.layoutFolder, 'blobs/sha256'))).toEqual(blobs);
});

test('registerModel() makes an OCI artifact: metadata as the config, the file as the one layer', async () => {
  await using rig = await workspaceRig();
  const { digest, artifactDigest, signature } = await registerModel(rig.workspace, {
    path: digitsFile,
    name: 'Digits',
  });
  const layout = await LayoutStore.open(rig.workspace.layoutFolder);
  const document = await layout.readManifest('models/x__44igits', '1');
  expect(document).toMatchObject({
    descriptor: { digest: artifactDigest, artifactType: 'application/vnd.modelferry.model.v1' },
    manifest: { layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest }] },
  });
  if (document?.kind !== 'manifest') throw new Error('No manifest');
  const config: unknown = JSON.parse(String(await layout.readBlob(document.manifest.config.digest)));
  expect(config).toMatchObject({ name: 'Digits', mainPath: '/models/Digits/digits-mlp.onnx', signature });
  const names: string[] = [];
  for await (const entry of (await layout.openBlob(digest)).pipe(extract())) {
    names.push(`${entry.header.name} ${entry.header.mtime?.getTime()}`);
    entry.resume();
  }
  expect(names).toEqual(['models/ 0', 'models/Digits/ 0', 'models/Digits/digits-mlp.onnx 0']);
});

test('registerModel() names everything that is wrong with name, tags and properties at once', async () => {
  await using rig = await workspaceRig();
  const wrong = { name: '-d', tags: { 'a b': '1', ok: '\n' }, properties: { p: 'x'.repeat(1025) } };
  await expect(registerModel(rig.workspace, { path: digitsFile, ...wrong })).rejects.toMatchObject({
    code: 'NAME_INVALID',
    message: expect.stringMatching(/the name is "-d".*key is "a b".*"ok" holds a control.*"p" has 1025 characters/),
  });
  await expect(registerModel(rig.workspace, { path: digitsFile, ...wrong, name: 'd' })).rejects.toMatchObject({
    code: 'TAG_INVALID',
  });
});

test.each([
  ['a truncated file', async () => (await readFile(digitsFile)).subarray(0, 20_000), 'but the file ends at byte 20000'],
  ['no ONNX file', async () => Buffer.from('hello\n'), 'it is a text'],
  [
    'a model that the runtime does not load',
    async () => model([1, message([1, 'x'], [2, 'y'], [4, 'NoSuchOperator'])], ...identityGraph.slice(1)),
    'NoSuchOperator',
  ],
  [
    'weights that are missing',
    async () => model(externalWeights('w.bin'), externalWeights('../v.bin'), ...identityGraph),
    'of the files that hold its weights "../v.bin" is outside of its folder, "w.bin" is not there',
  ],
])('registerModel() refuses %s and leaves nothing behind', async (_what, content, words) => {
  await using rig = await workspaceRig();
  await registerModel(rig.workspace, { path: logisticFile, name: 'digits' });
  const before = await allFiles(rig.workspace.layoutFolder);
  const file = join(rig.folder, 'bad.onnx');
  await writeFile(file, await content());
  await expect(registerModel(rig.workspace, { path: file, name: 'digits' })).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining(words),
  });
  expect(await allFiles(rig.workspace.layoutFolder)).toEqual(before);
  expect(listModels(rig.workspace.database)).toHaveLength(1);
  expect((await registerModel(rig.workspace, { path: digitsFile, name: 'digits' })).version).toBe(2);
});

test('registerModel() says what it was given where that is no file', async () => {
  await using rig = await workspaceRig();
  await expect(registerModel(rig.workspace, { path: '/no/such', name: 'd' })).rejects.toMatchObject({
    code: 'FILE_NOT_FOUND',
    message: 'Cannot register "/no/such": there is no such file',
  });
  await expect(registerModel(rig.workspace, { path: '/dev/null', name: 'd' })).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: 'Cannot register "/dev/null": it is no file, a file was wanted',
  });
});

test('registerModel() takes the files that hold weights beside the ONNX file', async () => {
  await using rig = await workspaceRig();
  const folder = join(rig.folder, 'model');
  await writeExternalModel(folder);
  await writeFile(join(folder, 'notes.txt'), 'not of the model');
  const registered = await registerModel(rig.workspace, { path: join(folder, 'sum.onnx'), name: 'sum' });
  expect(registered.files).toEqual([
    { path: 'sum.onnx', sizeBytes: expect.any(Number) },
    { path: 'weights/w.bin', sizeBytes: 8 },
  ]);
  expect(registered.mainPath).toBe('/models/sum/sum.onnx');
  const target = join(rig.folder, 'target');
  await downloadModel(rig.workspace, registered, { target });
  expect(await readFile(join(target, 'weights/w.bin'))).toEqual(await readFile(join(folder, 'weights/w.bin')));
});

test('registerModel() takes a whole folder with one ONNX file at its top', async () => {
  await using rig = await workspaceRig();
  const folder = join(rig.folder, 'model');
  await writeExternalModel(folder);
  await writeFile(join(folder, 'labels.txt'), 'a\nb\n');
  const first = await registerModel(rig.workspace, { path: folder, name: 'sum' });
  expect(first.files.map(({ path }) => path)).toEqual(['labels.txt', 'sum.onnx', 'weights/w.bin']);
  await copyFile(digitsFile, join(folder, 'another.onnx'));
  await expect(registerModel(rig.workspace, { path: folder, name: 'sum' })).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining('at its top there is "another.onnx", "sum.onnx", one ".onnx" file was wanted'),
    next: 'Name the one to serve: ferry model register --main.',
  });
  const second = await registerModel(rig.workspace, { path: folder, main: 'another.onnx', name: 'sum' });
  expect(second.mainPath).toBe('/models/sum/another.onnx');
});

test('registerModel() refuses a folder with links, which mean nothing on another machine', async () => {
  await using rig = await workspaceRig();
  await copyFile(digitsFile, join(rig.folder, 'm.onnx'));
  await symlink('/etc/passwd', join(rig.folder, 'link'));
  await expect(registerModel(rig.workspace, { path: rig.folder, name: 'd' })).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining('"link" are links or devices'),
  });
});

test('registerModel() takes shapes that the file does not tell from the runtime, or says that there is none', async () => {
  await using rig = await workspaceRig();
  const file = join(rig.folder, 'm.onnx');
  const [, input = [11, '']] = identityGraph;
  const nonZero = message([1, 'x'], [2, 'y'], [4, 'NonZero']);
  await writeFile(file, model([1, nonZero], input, [12, tensorValue('y', 7)]));
  const registered = await registerModel(rig.workspace, { path: file, name: 'open' });
  expect(registered.signature.outputs).toEqual([{ name: 'y', type: 'int64', shape: [2, '?'] }]);

  const reshape = message([1, 'x'], [1, 's'], [2, 'y'], [4, 'Reshape']);
  const sizes: Field = [11, tensorValue('s', 7, ['k'])];
  await writeFile(file, model([1, reshape], input, sizes, [12, tensorValue('y', 1)]));
  await expect(registerModel(rig.workspace, { path: file, name: 'open' })).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: expect.stringContaining('output "y" has no shape, neither in the file nor by inference'),
  });
});

test('registerModel() does not have a model loaded when it is told not to', async () => {
  await using rig = await workspaceRig();
  const file = join(rig.folder, 'odd.onnx');
  await writeFile(file, model([1, message([1, 'x'], [2, 'y'], [4, 'NoSuchOperator'])], ...identityGraph.slice(1)));
  const registered = await registerModel(rig.workspace, { path: file, name: 'odd' }, { load: false });
  expect(registered.version).toBe(1);
});

test.runIf(canMount)('registerModel() on a full disk fails with DISK_FULL, and works when there is room', async () => {
  await using disk = await smallDisk(1_000_000);
  await using rig = await workspaceRig(disk.path);
  await using elsewhere = await temporaryFolder();
  const file = join(elsewhere.path, 'hole.onnx');
  await writeHoleModel(file, 2_000_000);
  await expect(registerModel(rig.workspace, { path: file, name: 'hole' })).rejects.toMatchObject({ code: 'DISK_FULL' });
  expect(listModels(rig.workspace.database)).toEqual([]);
  expect(await readdir(join(rig.workspace.layoutFolder, '.ingest'))).toEqual([]);
  expect((await registerModel(rig.workspace, { path: digitsFile, name: 'hole' })).version).toBe(1);
});

test('a register that is killed at any moment leaves a workspace in which the next one succeeds', async () => {
  await using rig = await workspaceRig();
  const file = join(rig.folder, 'hole.onnx');
  await writeHoleModel(file, 60_000_000);
  for (let delayMs = 100; delayMs <= 500; delayMs += 50) {
    await killedFerry(['model', 'register', file, '--name', 'hole'], { cwd: rig.folder, delayMs });
  }
  const before = listModels(rig.workspace.database).length;
  const registered = await registerModel(rig.workspace, { path: file, name: 'hole' });
  expect(registered.version).toBe(before + 1);
  const layout = await LayoutStore.open(rig.workspace.layoutFolder);
  expect(await readdir(join(rig.workspace.layoutFolder, '.ingest'))).toEqual([]);
  for (const { version, artifactDigest } of listModels(rig.workspace.database)) {
    expect((await layout.resolve('models/hole', String(version)))?.digest).toBe(artifactDigest);
  }
});

test('registerModel() ends when its signal is aborted, and leaves nothing behind', async () => {
  await using rig = await workspaceRig();
  const controller = new AbortController();
  const registering = registerModel(
    rig.workspace,
    { path: digitsFile, name: 'digits' },
    { signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) },
  );
  await expect(registering).rejects.toThrow('enough');
  expect(listModels(rig.workspace.database)).toEqual([]);
  expect(await readdir(join(rig.workspace.layoutFolder, 'blobs/sha256'))).toEqual([]);
});

test('processes that register one name at once get different versions', async () => {
  await using rig = await workspaceRig();
  const count = 6;
  await Promise.all(
    Array.from({ length: count }, (_, at) =>
      copyFile(at % 2 ? digitsFile : logisticFile, join(rig.folder, `m${at}.onnx`)),
    ),
  );
  const runs = await Promise.all(
    Array.from({ length: count }, (_, at) =>
      runFerry(['model', 'register', `m${at}.onnx`, '--name', 'digits', '--json'], { cwd: rig.folder }),
    ),
  );
  expect(runs.map(({ stderr }) => stderr)).toEqual(runs.map(() => ''));
  const versions = runs.map(({ stdout }) => (JSON.parse(stdout) as { version: number }).version);
  expect(versions.sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6]);
  const layout = await LayoutStore.open(rig.workspace.layoutFolder);
  for (const { version, artifactDigest } of listModels(rig.workspace.database)) {
    expect((await layout.resolve('models/digits', String(version)))?.digest).toBe(artifactDigest);
  }
});

test(`ferry model register survives broken models, and says what is wrong in one line (FUZZ_SEED=${seed})`, async () => {
  await using rig = await workspaceRig();
  const random = new Random(seed);
  const whole = await readFile(logisticFile);
  for (let round = 0; round < 8; round += 1) {
    await writeFile(join(rig.folder, 'broken.onnx'), damaged(whole, random));
    const { code, stderr } = await runFerry(['model', 'register', 'broken.onnx', '--name', 'b'], { cwd: rig.folder });
    expect(`${code} ${stderr}`, `round ${round}`).toMatch(/^(0 $|1 error MODEL_INVALID: Cannot .*)/);
  }
});

test('findModel() says which versions there are', async () => {
  await using rig = await workspaceRig();
  await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const { database } = rig.workspace;
  expect(() => findModel(database, { name: 'digits', version: 9 })).toThrow(
    'Cannot find the model "digits:9": of this name there is version 1',
  );
  expect(() => findModel(database, { name: 'other' })).toThrow('Cannot find the model "other": no model has this name');
});

function externalWeights(location: string): Field {
  return [5, message([8, location], [13, message([1, 'location'], [2, location])])];
}

async function allFiles(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).sort();
}
