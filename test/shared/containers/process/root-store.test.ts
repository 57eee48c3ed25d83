import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RootStore } from '../../../../shared/containers/process/root-store.ts';
import type { Digest } from '../../../../shared/digest.ts';
import { LayoutStore } from '../../../../shared/oci/layout-store.ts';
import { encodeJson } from '../../../../shared/oci/manifest.ts';
import { mediaTypes } from '../../../../shared/oci/media-types.ts';
import { type LayerEntry, tarLayer } from '../../../../shared/oci/tar-layer.ts';
import { temporaryFolder } from '../../../temporary-folder.ts';

const base: LayerEntry[] = [
  { kind: 'directory', path: 'usr/lib' },
  { kind: 'file', path: 'usr/lib/node', content: Buffer.from('the program') },
  { kind: 'symlink', path: 'lib', target: 'usr/lib' },
];
const file = (path: string, text: string): LayerEntry => ({ kind: 'file', path, content: Buffer.from(text) });

/** Stores an image of some layers. */
async function putImage(store: LayoutStore, layers: readonly (readonly LayerEntry[])[]): Promise<Digest> {
  const stored = [];
  for (const entries of layers) stored.push(await store.putBlob(tarLayer(entries)));
  const config = await store.putBlob(
    encodeJson({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: stored.map(({ digest }) => digest) },
    }),
  );
  const manifest = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, ...config },
    layers: stored.map((layer) => ({ mediaType: mediaTypes.layer, ...layer })),
  });
  return (await store.putManifest('test', undefined, manifest, mediaTypes.manifest)).digest;
}

async function openStores(folder: string) {
  const layout = await LayoutStore.open(join(folder, 'layout'));
  const stores = ['one', 'two'].map(
    (name) => new RootStore(layout, join(folder, name), async () => [join(folder, 'one')]),
  );
  const inode = async (store: string, image: Digest, path: string): Promise<number> =>
    (await stat(join(folder, store, 'roots', image.replace(':', '-'), path))).ino;
  const read = async (store: string, image: Digest, path: string): Promise<string> =>
    readFile(join(folder, store, 'roots', image.replace(':', '-'), path), 'utf8');
  const [one, two] = stores;
  if (one === undefined || two === undefined) throw new Error('There are two stores');
  return { layout, one, two, inode, read };
}

test('RootStore takes the layers that images begin with over from one that is there, also of another store', async () => {
  await using folder = await temporaryFolder();
  const { layout, one, two, inode, read } = await openStores(folder.path);
  const first = await putImage(layout, [base, [file('app/model', 'first')]]);
  const second = await putImage(layout, [base, [file('app/model', 'second')]]);
  await one.prepare(first);
  await one.prepare(second);
  await two.prepare(second);
  expect(await inode('one', second, 'usr/lib/node')).toBe(await inode('one', first, 'usr/lib/node'));
  expect(await inode('two', second, 'usr/lib/node')).toBe(await inode('one', first, 'usr/lib/node'));
  expect(await read('one', second, 'lib/node')).toBe('the program');
  expect([await read('one', first, 'app/model'), await read('two', second, 'app/model')]).toEqual(['first', 'second']);
  // What one of them forgets the others keep.
  await one.forget(first);
  expect(await read('two', second, 'usr/lib/node')).toBe('the program');
});

test('RootStore takes nothing over that a layer above has replaced or removed', async () => {
  await using folder = await temporaryFolder();
  const { layout, one, read } = await openStores(folder.path);
  const replaced = await putImage(layout, [base, [file('usr/lib/node', 'another program')]]);
  const removed = await putImage(layout, [base, [file('usr/lib/.wh.node', '')]]);
  const plain = await putImage(layout, [base, [file('app/model', 'plain')]]);
  await one.prepare(replaced);
  await one.prepare(removed);
  await one.prepare(plain);
  expect(await read('one', plain, 'usr/lib/node')).toBe('the program');
  expect(await read('one', replaced, 'usr/lib/node')).toBe('another program');
  await expect(read('one', removed, 'usr/lib/node')).rejects.toThrow('ENOENT');
});

test('RootStore unpacks an image whole where what it would take over is gone, or its notes are not whole', async () => {
  await using folder = await temporaryFolder();
  const { layout, one, two, read } = await openStores(folder.path);
  const first = await putImage(layout, [base, [file('app/model', 'first')]]);
  const second = await putImage(layout, [base, [file('app/model', 'second')]]);
  await one.prepare(first);
  const root = join(folder.path, 'one/roots', first.replace(':', '-'));
  await rm(join(root, 'usr/lib/node'));
  await two.prepare(second);
  expect(await read('two', second, 'usr/lib/node')).toBe('the program');
  await mkdir(join(folder.path, 'one/root-notes'), { recursive: true });
  await writeFile(join(folder.path, 'one/root-notes', `${first.replace(':', '-')}.json`), '{"layers":');
  await one.prepare(second);
  expect(await read('one', second, 'usr/lib/node')).toBe('the program');
});
