import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { env } from 'onnxruntime-node';
import { extract } from 'tar-stream';
import { expect, test } from 'vitest';
import { createImage } from '../../../cloud/images/create.ts';
import { LayerCache } from '../../../cloud/images/layer-cache.ts';
import { optimizedLayer } from '../../../cloud/images/optimized-layer.ts';
import { parsePlatforms } from '../../../cloud/images/platform.ts';
import { message } from '../../../cloud/models/protobuf-message.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { processorKind } from '../../../shared/model/processor.ts';
import { runFerry } from '../../ferry.ts';
import { identityGraph, model } from '../models/onnx-writer.ts';
import { digitsFile, workspaceRig } from '../workspace-rig.ts';

const platform = `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`;
const other = platform === 'linux/amd64' ? 'linux/arm64' : 'linux/amd64';

test('an image has the optimised graph beside the original, and no second one where it is asked for again', async () => {
  await using rig = await workspaceRig();
  await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const request = { models: [{ name: 'digits' }], optimize: true };
  const first = await createImage(rig.workspace, request);
  expect(first.warnings).toEqual([]);
  expect(first.image.layers.map(({ kind }) => kind)).toEqual(['base', 'engine', 'model', 'optimized', 'app']);
  const second = await createImage(rig.workspace, request);
  expect(second).toMatchObject({ created: false, bytesBuilt: 0, image: { digest: first.image.digest } });
  const plain = await createImage(rig.workspace, { models: [{ name: 'digits' }] });
  expect(plain.image.digest).not.toBe(first.image.digest);
});

test('an optimised graph has the same digest in every workspace', async () => {
  const digests = await Promise.all(
    [0, 1].map(async () => {
      await using rig = await workspaceRig();
      await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
      return (await createImage(rig.workspace, { models: [{ name: 'digits' }], optimize: true })).image.digest;
    }),
  );
  expect(digests[1]).toBe(digests[0]);
});

test('a model whose answers change is served as it is, and ferry says why', async () => {
  await using rig = await workspaceRig();
  const file = join(rig.folder, 'random.onnx');
  // The runtime seeds a random operator by its place among the nodes, which moves when the one before it is optimised away.
  const copy = message([1, 'x'], [2, 'same'], [4, 'Identity']);
  const noise = message([1, 'same'], [2, 'noise'], [4, 'RandomNormalLike']);
  const sum = message([1, 'x'], [1, 'noise'], [2, 'y'], [4, 'Add']);
  await writeFile(file, model([1, copy], [1, noise], [1, sum], ...identityGraph.slice(1)));
  await registerModel(rig.workspace, { path: file, name: 'random' });
  const made = await runFerry(['image', 'create', '--model', 'random', '--optimize'], { cwd: rig.folder });
  expect(made.code).toBe(0);
  expect(made.stderr).toMatch(
    new RegExp(
      `^warning: random:1 is not optimised for ${platform}, the original is served: the output "y" is .* instead of `,
    ),
  );
  const { image } = await createImage(rig.workspace, { models: [{ name: 'random' }] });
  expect(image.layers.map(({ kind }) => kind)).not.toContain('optimized');
});

test('a model that made-up rows break is optimised where it has a sample', async () => {
  await using rig = await workspaceRig();
  const file = join(rig.folder, 'picky.onnx');
  // `axes` is all zeros when it is made up, and so twice the same.
  const picky = message([1, 'x'], [1, 'axes'], [2, 'y'], [4, 'Unsqueeze']);
  const axes = message([1, 'axes'], [2, message([1, message([1, 7], [2, message([1, message([1, 2])])])])]);
  const y = message(
    [1, 'y'],
    [2, message([1, message([1, 1], [2, message([1, message()], [1, message()], [1, message()], [1, message()])])])],
  );
  const [, x = [11, '']] = identityGraph;
  await writeFile(file, model([1, picky], x, [11, axes], [12, y]));
  await registerModel(rig.workspace, { path: file, name: 'picky' });
  const without = await createImage(rig.workspace, { models: [{ name: 'picky' }], optimize: true });
  expect(without.warnings[0]).toMatch(
    /the original is served: the original cannot be scored to compare, with its sample or with made-up rows: /,
  );
  await writeFile(join(rig.folder, 'sample.json'), JSON.stringify({ x: [[1, 2]], axes: [0, 3] }));
  await registerModel(rig.workspace, { path: file, name: 'picky', sample: join(rig.folder, 'sample.json') });
  const withSample = await createImage(rig.workspace, { models: [{ name: 'picky' }], optimize: true });
  expect(withSample.warnings).toEqual([]);
  expect(withSample.image.layers.map(({ kind }) => kind)).toContain('optimized');
});

test('a graph is not optimised for another platform than this one, where it cannot be run', async () => {
  await using rig = await workspaceRig();
  const registered = await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const cache = new LayerCache(rig.folder, await LayoutStore.open(rig.workspace.layoutFolder));
  const [platform] = parsePlatforms(other);
  if (platform === undefined) throw new Error('No platform');
  expect(await optimizedLayer(registered, { workspace: rig.workspace, cache, platform })).toEqual({
    refused: 'it can be run on a machine of this platform only',
  });
});

test('the layer says which runtime and processor the graph is for', async () => {
  await using rig = await workspaceRig();
  await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const { image } = await createImage(rig.workspace, { models: [{ name: 'digits' }], optimize: true });
  const layout = await LayoutStore.open(rig.workspace.layoutFolder);
  const layer = image.layers.find(({ kind }) => kind === 'optimized');
  if (layer === undefined) throw new Error('No layer');
  const found: Record<string, string> = {};
  for await (const entry of (await layout.openBlob(layer.digest)).pipe(extract()))
    found[entry.header.name] = await text(entry);
  expect(Object.keys(found)).toEqual([
    'models/',
    'models/digits/',
    'models/digits/digits-mlp.optimized.json',
    'models/digits/digits-mlp.optimized.onnx',
  ]);
  expect(JSON.parse(found['models/digits/digits-mlp.optimized.json'] ?? '')).toEqual({
    runtime: env.versions.node,
    processor: processorKind(),
  });
});
