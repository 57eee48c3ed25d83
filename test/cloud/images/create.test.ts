import { execFile } from 'node:child_process';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { readImageSample } from '../../../agent/images/image-sample.ts';
import { type CreatedImage, createImage } from '../../../cloud/images/create.ts';
import type { ImageRequest } from '../../../cloud/images/image-request.ts';
import { findImage, listImages } from '../../../cloud/images/image.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { type ServiceConfig, serviceConfigSchema } from '../../../shared/model/service-config.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { hasCommand } from '../../shared/oci/commands.ts';
import { canMount, smallDisk } from '../small-disk.ts';
import { digitsFile, logisticFile, type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';

const onLinux = process.platform === 'linux';
const isRoot = process.getuid?.() === 0;
const hasUmoci = await hasCommand('umoci');
const run = promisify(execFile);

test.runIf(onLinux)(
  'createImage() builds base, engine, model and app, and refers to the layer of the model',
  async () => {
    await using rig = await rigWithModels();
    const { image, created, bytesBuilt } = await create(rig, { models: [{ name: 'digits' }], tags: { stage: 'test' } });
    expect(created).toBe(true);
    expect(image).toMatchObject({ name: 'digits', version: 1, models: ['digits:2'], tags: { stage: 'test' } });
    expect(image.layers.map(({ kind }) => kind)).toEqual(['base', 'engine', 'model', 'app']);
    expect(image.layers[2]).toMatchObject({ digest: rig.mlpDigest, model: 'digits:2' });
    const sizes = image.layers.map(({ kind, sizeBytes }) => (kind === 'model' ? 0 : sizeBytes));
    expect(bytesBuilt).toBe(sizes.reduce((sum, size) => sum + size, 0));
    expect(findImage(rig.workspace.database, { name: 'digits' })).toEqual(image);
    const layout = await LayoutStore.open(rig.workspace.layoutFolder);
    expect((await layout.resolve('digits', '1'))?.digest).toBe(image.digest);
  },
);

test.runIf(onLinux)(
  'createImage() gives the same version again, and packs nothing, when nothing has changed',
  async () => {
    await using rig = await rigWithModels();
    const first = await create(rig, { models: [{ name: 'digits' }] });
    const blobs = await blobInodes(rig);
    const second = await create(rig, { models: [{ name: 'digits', version: 2 }] });
    expect(second).toEqual({ ...first, created: false, bytesBuilt: 0, push: undefined });
    expect(await blobInodes(rig)).toEqual(blobs);
    const third = await create(rig, { models: [{ name: 'digits', version: 1 }] });
    expect(third.image).toMatchObject({ version: 2, models: ['digits:1'] });
    expect(listImages(rig.workspace.database).map(({ version }) => version)).toEqual([2, 1]);
  },
);

test.runIf(onLinux)(
  'createImage() gives the same digest in another workspace, for models in another order',
  async () => {
    await using one = await rigWithModels();
    await using other = await rigWithModels();
    const names = [{ name: 'other' }, { name: 'digits', version: 1 }] as const;
    const first = await create(one, { models: names, name: 'both' });
    const second = await create(other, { models: names.toReversed(), name: 'both', tags: { any: 'tag' } });
    expect(second.image.digest).toBe(first.image.digest);
    expect(first.image.models).toEqual(['digits:1', 'other:1']);
  },
);

test.runIf(onLinux && isRoot && hasUmoci)(
  'createImage() writes an image that umoci unpacks and its own Node runs',
  async () => {
    await using rig = await rigWithModels();
    const { image } = await create(rig, { models: [{ name: 'digits' }] });
    const root = await unpack(rig, image.version);
    const config = await readServiceConfig(root);
    expect(config.models).toMatchObject([{ name: 'digits', version: 2, path: '/models/digits/digits-mlp.onnx' }]);
    expect(await readdir(join(root, 'opt/modelferry/node_modules'))).toEqual([
      'better-sqlite3',
      'onnxruntime-common',
      'onnxruntime-node',
    ]);
    expect((await stat(join(root, 'tmp'))).mode & 0o7777).toBe(0o1777);
    // With the root changed, nothing of this machine can stand in for what the image lacks.
    const script = `
    const require = process.getBuiltinModule('module').createRequire('/opt/modelferry/server.mjs');
    const Database = require('better-sqlite3');
    const row = new Database(':memory:').prepare('SELECT 1 AS one').get();
    require('onnxruntime-node').InferenceSession.create('/models/digits/digits-mlp.onnx').then((session) => console.log(row.one, session.inputNames[0]));`;
    const { stdout } = await run('chroot', ['--userspec=10001:10001', root, '/usr/local/bin/node', '-e', script]);
    expect(stdout).toBe('1 pixels\n');
  },
);

test('createImage() names everything that is wrong with name and tags at once', async () => {
  await using rig = await rigWithModels();
  const { workspace } = rig;
  const wrong = { models: [{ name: 'digits' }], name: 'Digits_1', tags: { 'a b': '' } };
  await expect(createImage(workspace, wrong)).rejects.toMatchObject({
    code: 'NAME_INVALID',
    message: expect.stringMatching(/the name is "Digits_1".*the tag key is "a b"/),
  });
});

test.each<[string, ImageRequest, string]>([
  ['a model that is not there', { models: [{ name: 'nobody' }], name: 'abc' }, 'MODEL_NOT_FOUND'],
  ['another version', { models: [{ name: 'digits', version: 7 }] }, 'MODEL_NOT_FOUND'],
  ['no model', { models: [] }, 'USAGE'],
  ['several models without a name', { models: [{ name: 'digits' }, { name: 'other' }] }, 'USAGE'],
  [
    'two versions of a model',
    { models: [{ name: 'digits', version: 1 }, { name: 'digits' }], name: 'abc' },
    'IMAGE_INVALID',
  ],
  ['an unknown platform', { models: [{ name: 'digits' }], platform: 'linux/s390x' }, 'PLATFORM_UNSUPPORTED'],
  [
    'the base of another machine',
    { models: [{ name: 'digits' }], platform: process.arch === 'arm64' ? 'linux/amd64' : 'linux/arm64' },
    'PLATFORM_UNSUPPORTED',
  ],
])('createImage() refuses %s', async (_what, request, code) => {
  await using rig = await rigWithModels();
  await expect(createImage(rig.workspace, request)).rejects.toMatchObject({ code });
  expect(listImages(rig.workspace.database)).toEqual([]);
});

// 100 MB is full while the base is packed, 170 MB while the engine is.
test.runIf(onLinux && canMount).each([100e6, 170e6])(
  'createImage() on a disk of %d bytes fails with DISK_FULL, then works with more room',
  async (bytes) => {
    await using disk = await smallDisk(bytes);
    await using rig = await rigWithModels(disk.path);
    const failure: unknown = await create(rig, { models: [{ name: 'digits' }] }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'DISK_FULL' });
    expect(listImages(rig.workspace.database)).toEqual([]);
    expect(await readdir(join(rig.workspace.layoutFolder, '.ingest'))).toEqual([]);
    await run('mount', ['-o', 'remount,size=400m', disk.path]);
    expect((await create(rig, { models: [{ name: 'digits' }] })).image.version).toBe(1);
  },
);

test.runIf(onLinux)(
  'createImage() puts the sample of the model with its answer into the image, for a device to prove it by',
  async () => {
    await using rig = await workspaceRig();
    const path = join(rig.folder, 'sample.json');
    await writeFile(path, JSON.stringify({ data: [Array.from({ length: 64 }, () => 1)] }));
    const { sample } = await registerModel(rig.workspace, { path: digitsFile, name: 'digits', sample: path });
    const { image } = await create(rig, { models: [{ name: 'digits' }] });
    const layout = await LayoutStore.open(rig.workspace.layoutFolder);
    expect(sample?.output).toMatchObject({ label: [expect.any(Number)] });
    expect(await readImageSample(layout, image.digest)).toEqual(sample);
  },
);

interface ModelsRig extends WorkspaceRig {
  /** Layer of the model `digits:2`. */
  readonly mlpDigest: string;
}

/** A workspace with the models `digits:1`, `digits:2` and `other:1`. */
async function rigWithModels(folder?: string): Promise<ModelsRig> {
  const rig = await workspaceRig(folder);
  await registerModel(rig.workspace, { path: logisticFile, name: 'digits' });
  const { digest } = await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  await registerModel(rig.workspace, { path: logisticFile, name: 'other' });
  return { ...rig, mlpDigest: digest };
}

function create(rig: WorkspaceRig, request: ImageRequest): Promise<CreatedImage> {
  return createImage(rig.workspace, request);
}

async function blobInodes(rig: WorkspaceRig): Promise<string[]> {
  const folder = join(rig.workspace.layoutFolder, 'blobs/sha256');
  const names = (await readdir(folder)).sort();
  return Promise.all(names.map(async (name) => `${name} ${(await stat(join(folder, name))).ino}`));
}

async function unpack(rig: WorkspaceRig, version: number): Promise<string> {
  const bundle = join(rig.folder, 'bundle');
  await run('umoci', ['unpack', '--rootless', '--image', `${rig.workspace.layoutFolder}:digits:${version}`, bundle]);
  return join(bundle, 'rootfs');
}

async function readServiceConfig(root: string): Promise<ServiceConfig> {
  return serviceConfigSchema.parse(JSON.parse(await readFile(join(root, 'app/service.json'), 'utf8')));
}
