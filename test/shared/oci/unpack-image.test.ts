import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { encodeJson, type ManifestDocument } from '../../../shared/oci/manifest.ts';
import { mediaTypes } from '../../../shared/oci/media-types.ts';
import { readImageConfig, unpackImage } from '../../../shared/oci/unpack-image.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { smallImage } from './small-image.ts';

test('unpackImage() makes a folder of the image, once', async () => {
  await using folder = await temporaryFolder();
  const { store, image } = await storeWithImage(folder.path);
  const root = join(folder.path, 'root');
  const progress: number[] = [];
  await unpackImage(store, image, root, { onProgress: (bytes) => void progress.push(bytes) });
  expect(await readFile(join(root, 'app/message'), 'utf8')).toBe('hello');
  expect(progress).toEqual([layersOf(image).reduce((sum, { size }) => sum + size, 0)]);
  await writeFile(join(root, 'app/message'), 'changed by who runs it');
  await unpackImage(store, image, root);
  expect(await readFile(join(root, 'app/message'), 'utf8')).toBe('changed by who runs it');
  expect((await readdir(folder.path)).sort()).toEqual(['layout', 'root']);
});

test('unpackImage() leaves nothing behind when a layer is not what it should be', async () => {
  await using folder = await temporaryFolder();
  const { store, image } = await storeWithImage(folder.path);
  const [layer] = layersOf(image);
  if (layer === undefined) throw new Error('The image has a layer');
  const bytes = await readFile(store.blobPath(layer.digest));
  bytes.write('jello', bytes.indexOf('hello'));
  await writeFile(store.blobPath(layer.digest), bytes);
  await expect(unpackImage(store, image, join(folder.path, 'root'))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  expect(await readdir(folder.path)).toEqual(['layout']);
});

test('unpackImage() sweeps what a killed process left', async () => {
  await using folder = await temporaryFolder();
  const { store, image } = await storeWithImage(folder.path);
  const root = join(folder.path, 'root');
  const dead = spawn('true');
  await once(dead, 'exit');
  await mkdir(`${root}.${dead.pid}-1.partial`);
  await mkdir(`${root}-other.${dead.pid}-1.partial`);
  await unpackImage(store, image, root);
  expect((await readdir(folder.path)).sort()).toEqual(['layout', 'root', `root-other.${dead.pid}-1.partial`]);
});

test('unpackImage() and readImageConfig() refuse an index', async () => {
  await using folder = await temporaryFolder();
  const { store, image } = await storeWithImage(folder.path);
  const bytes = encodeJson({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [image.descriptor] });
  await store.putManifest('digits', 'all', bytes, mediaTypes.index);
  const index = await store.readManifest('digits', 'all');
  if (index === undefined) throw new Error('The index was stored');
  await expect(unpackImage(store, index, join(folder.path, 'root'))).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  await expect(readImageConfig(store, index)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
});

test('readImageConfig() reads what an image runs, and refuses an artifact', async () => {
  await using folder = await temporaryFolder();
  const { store, image } = await storeWithImage(folder.path);
  expect(await readImageConfig(store, image)).toMatchObject({ os: 'linux', config: { WorkingDir: '/app' } });
  const config = { mediaType: mediaTypes.empty, ...(await store.putBlob(Buffer.from('{}'))) };
  const bytes = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType: 'x/y',
    config,
    layers: [],
  });
  await store.putManifest('models/digits', '1', bytes, mediaTypes.manifest);
  const artifact = await store.readManifest('models/digits', '1');
  if (artifact === undefined) throw new Error('The artifact was stored');
  await expect(readImageConfig(store, artifact)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
});

async function storeWithImage(folder: string): Promise<{ store: LayoutStore; image: ManifestDocument }> {
  const store = await LayoutStore.open(join(folder, 'layout'));
  await smallImage(store, 'digits', '1');
  const image = await store.readManifest('digits', '1');
  if (image === undefined) throw new Error('The image was stored');
  return { store, image };
}

function layersOf(image: ManifestDocument): readonly { digest: `sha256:${string}`; size: number }[] {
  return image.kind === 'manifest' ? image.manifest.layers : [];
}
