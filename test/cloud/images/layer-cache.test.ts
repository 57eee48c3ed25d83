import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LayerCache, type LayerContent, type StoredLayer } from '../../../cloud/images/layer-cache.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

test('LayerCache.layer() makes a layer once while its inputs stay as they are', async () => {
  await using rig = await cacheRig();
  const first = await rig.layer();
  expect(first.made).toBe(true);
  expect(await rig.layer()).toEqual({ ...first, made: false });
});

test('LayerCache.layer() makes the layer anew when an input has changed', async () => {
  await using rig = await cacheRig();
  const first = await rig.layer();
  await rig.writeInput('after');
  const second = await rig.layer();
  expect(second.made).toBe(true);
  expect(second.digest).not.toBe(first.digest);
});

test('LayerCache.layer() makes the layer anew when an input appears that was not there', async () => {
  await using rig = await cacheRig();
  await rig.layer();
  await writeFile(join(rig.folder, 'absent'), '');
  expect((await rig.layer()).made).toBe(true);
});

test('LayerCache.layer() makes the layer anew when its blob is gone', async () => {
  await using rig = await cacheRig();
  const { digest } = await rig.layer();
  await rm(rig.layout.blobPath(digest));
  expect((await rig.layer()).made).toBe(true);
});

test('LayerCache.layer() does not trust an input that was written while it was read', async () => {
  await using rig = await cacheRig();
  const soon = new Date(Date.now() + 60_000);
  await utimes(rig.input, soon, soon);
  await rig.layer();
  expect((await rig.layer()).made).toBe(true);
});

test('LayerCache.layer() takes a damaged record as none', async () => {
  await using rig = await cacheRig();
  const first = await rig.layer();
  await rig.damageRecords();
  expect(await rig.layer()).toEqual(first);
});

test('LayerCache.layer() keeps layers of different keys apart', async () => {
  await using rig = await cacheRig();
  await rig.layer('a');
  expect((await rig.layer('b')).made).toBe(true);
  expect((await rig.layer('a')).made).toBe(false);
});

interface CacheRig extends AsyncDisposable {
  readonly folder: string;
  readonly input: string;
  readonly layout: LayoutStore;
  layer(key?: string): Promise<StoredLayer>;
  writeInput(text: string): Promise<void>;
  damageRecords(): Promise<void>;
}

/** A cache whose layers have one file, read from one input that was written a minute ago. */
async function cacheRig(): Promise<CacheRig> {
  const folder = await temporaryFolder();
  const layout = await LayoutStore.open(join(folder.path, 'oci'));
  const records = join(folder.path, 'cache');
  const cache = new LayerCache(records, layout);
  const input = join(folder.path, 'input');
  const writeInput = async (text: string): Promise<void> => {
    await writeFile(input, text);
    const past = new Date(Date.now() - 60_000);
    await utimes(input, past, past);
  };
  await writeInput('first');
  const make = async (): Promise<LayerContent> => {
    const entries = [{ kind: 'file', path: '/input', content: await readFile(input) }] as const;
    return { entries, inputs: [input, join(folder.path, 'absent')] };
  };
  return {
    folder: folder.path,
    input,
    layout,
    layer: (key = 'key') => cache.layer({ key: [key], make }),
    writeInput,
    damageRecords: async () => {
      for (const name of await readdir(records)) await writeFile(join(records, name), '{"digest":');
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
