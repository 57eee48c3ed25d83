import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { digestOf } from '../../../shared/digest.ts';
import type { Descriptor } from '../../../shared/oci/descriptor.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { encodeJson } from '../../../shared/oci/manifest.ts';
import { mediaTypes } from '../../../shared/oci/media-types.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { smallImage } from './small-image.ts';

const run = promisify(execFile);
const storeModule = new URL('../../../shared/oci/layout-store.ts', import.meta.url).href;

test('LayoutStore.open() makes an empty layout that umoci lists', async () => {
  await using folder = await temporaryFolder();
  await LayoutStore.open(folder.path);
  expect(JSON.parse(await readFile(join(folder.path, 'oci-layout'), 'utf8'))).toEqual({ imageLayoutVersion: '1.0.0' });
  expect(JSON.parse(await readFile(join(folder.path, 'index.json'), 'utf8'))).toEqual({
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [],
  });
});

test('LayoutStore.open() keeps what is there', async () => {
  await using folder = await temporaryFolder();
  const image = await smallImage(await LayoutStore.open(folder.path), 'digits', '1');
  expect(await (await LayoutStore.open(folder.path)).resolve('digits', '1')).toEqual(image);
});

test('LayoutStore.open() refuses a layout of another version', async () => {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}');
  await expect(LayoutStore.open(folder.path)).rejects.toMatchObject({
    code: 'WORKSPACE_TOO_NEW',
    message: expect.stringContaining('"2.0.0"'),
  });
});

test('LayoutStore refuses a corrupt index and names the file', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  for (const content of ['', '{', '{"schemaVersion":2}']) {
    await writeFile(join(folder.path, 'index.json'), content);
    await expect(store.tags('digits')).rejects.toMatchObject({
      code: 'WORKSPACE_CORRUPT',
      message: expect.stringContaining('index.json'),
    });
  }
});

test('LayoutStore.putBlob() stores pieces and bytes under their digest, once', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const bytes = Buffer.alloc(5 * 1024 * 1024 + 3, 'layer');
  const blob = await store.putBlob(piecesOf(bytes, 1000));
  expect(blob).toEqual({ digest: digestOf(bytes), size: bytes.byteLength });
  expect(await store.putBlob(bytes)).toEqual(blob);
  expect(await readdir(join(folder.path, 'blobs', 'sha256'))).toEqual([blob.digest.slice(7)]);
  expect(digestOf(await readFile(store.blobPath(blob.digest)))).toBe(blob.digest);
  expect(await readdir(join(folder.path, '.ingest'))).toEqual([]);
});

test('LayoutStore.putBlob() does not read the source of what is there', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const expected = await store.putBlob(Buffer.from('layer'));
  const old = new Date(0);
  await utimes(store.blobPath(expected.digest), old, old);
  let read = false;
  // oxlint-disable-next-line require-yield -- it must not even be asked for its first piece
  const source = (async function* (): AsyncGenerator<Uint8Array> {
    read = true;
  })();
  expect(await store.putBlob(source, { expected })).toEqual(expected);
  expect(read).toBe(false);
  // It is young again, so that no clean-up takes it before it is referred to.
  expect((await stat(store.blobPath(expected.digest))).mtimeMs).toBeGreaterThan(Date.now() - 60_000);
});

test('LayoutStore.putBlob() refuses what is not what was expected, and keeps nothing of it', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const bytes = Buffer.from('layer');
  const wrong = [
    { digest: digestOf('other'), size: bytes.byteLength },
    { digest: digestOf(bytes), size: 4 },
  ];
  for (const expected of wrong) {
    await expect(store.putBlob(bytes, { expected })).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  }
  expect(await readdir(join(folder.path, 'blobs', 'sha256'))).toEqual([]);
  expect(await readdir(join(folder.path, '.ingest'))).toEqual([]);
});

test('LayoutStore.putBlob() keeps nothing when its source fails or it is aborted', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const failing = (async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('half');
    throw new Error('cut off');
  })();
  await expect(store.putBlob(failing)).rejects.toThrow('cut off');
  const signal = AbortSignal.abort(new Error('given up'));
  await expect(store.putBlob(Buffer.from('layer'), { signal })).rejects.toThrow('given up');
  expect(await readdir(join(folder.path, '.ingest'))).toEqual([]);
});

test('LayoutStore.putBlobResumably() goes on where it broke off, and where a killed process did', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const bytes = Buffer.alloc(500_000, 'weights');
  const blob = { digest: digestOf(bytes), size: bytes.byteLength };
  const starts: number[] = [];
  const breakingAt = (end: number) =>
    async function* (start: number): AsyncGenerator<Uint8Array> {
      starts.push(start);
      yield* piecesOf(bytes.subarray(start, end), 1000);
      if (end < bytes.byteLength) throw new Error('cut off');
    };
  await expect(store.putBlobResumably(breakingAt(100_000), blob)).rejects.toThrow('cut off');
  await expect(store.putBlobResumably(breakingAt(200_000), blob)).rejects.toThrow('cut off');
  // As another process leaves it that is gone.
  const ingest = join(folder.path, '.ingest');
  const [part = ''] = await readdir(ingest);
  await rename(join(ingest, part), join(ingest, part.replace(/^\d+-\d+\.[0-9a-f]+/, '1-1.dead')));
  const other = await LayoutStore.open(folder.path);
  await other.putBlobResumably(breakingAt(bytes.byteLength), blob);
  expect(starts).toEqual([0, 100_000, 200_000]);
  expect(digestOf(await readFile(store.blobPath(blob.digest)))).toBe(blob.digest);
  await other.putBlobResumably(breakingAt(bytes.byteLength), blob);
  expect(starts).toHaveLength(3);
  expect(await readdir(ingest)).toEqual([]);
});

test('LayoutStore.putBlobResumably() begins again when what was kept is wrong, and keeps nothing that is', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const bytes = Buffer.from('0123456789');
  const blob = { digest: digestOf(bytes), size: bytes.byteLength };
  const ingest = join(folder.path, '.ingest');
  await writeFile(join(ingest, `1-1.dead.part-${blob.digest.slice('sha256:'.length)}`), 'xxx');
  await store.putBlobResumably((start) => piecesOf(bytes.subarray(start), 4), blob);
  expect(await store.readBlob(blob.digest)).toEqual(bytes);

  const lie = { digest: digestOf('other'), size: bytes.byteLength };
  const lying = store.putBlobResumably((start) => piecesOf(bytes.subarray(start), 4), lie);
  await expect(lying).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  // oxlint-disable-next-line require-yield -- nothing comes before it fails
  const failing = async function* (): AsyncGenerator<Uint8Array> {
    throw new Error('unreachable');
  };
  await expect(store.putBlobResumably(failing, lie)).rejects.toThrow('unreachable');
  expect(await readdir(ingest)).toEqual([]);
});

test('LayoutStore.putBlobResumably() of one blob by several callers at once stores it once', async () => {
  await using folder = await temporaryFolder();
  const stores = [await LayoutStore.open(folder.path), await LayoutStore.open(folder.path)];
  const bytes = Buffer.alloc(300_000, 'weights');
  const blob = { digest: digestOf(bytes), size: bytes.byteLength };
  const puts = [...stores, ...stores].map((store) =>
    store.putBlobResumably((start) => piecesOf(bytes.subarray(start), 1000), blob),
  );
  await Promise.all(puts);
  expect(digestOf(await readFile(stores[0]?.blobPath(blob.digest) ?? ''))).toBe(blob.digest);
  expect(await readdir(join(folder.path, '.ingest'))).toEqual([]);
});

test('LayoutStore.openBlob() gives a blob and ranges of it', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const { digest } = await store.putBlob(Buffer.from('0123456789'));
  const textOf = async (range: { start?: number; end?: number }): Promise<string> =>
    Buffer.concat(await (await store.openBlob(digest, range)).toArray()).toString();
  expect(await textOf({})).toBe('0123456789');
  expect(await textOf({ start: 7 })).toBe('789');
  expect(await textOf({ start: 2, end: 5 })).toBe('234');
  await expect(store.openBlob(digestOf('nothing'))).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
});

test('LayoutStore.readBlob() refuses a blob that the disk has changed', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const { digest } = await store.putBlob(Buffer.from('config'));
  await writeFile(store.blobPath(digest), 'c0nfig');
  await expect(store.readBlob(digest)).rejects.toMatchObject({ code: 'WORKSPACE_CORRUPT' });
});

test('LayoutStore.putManifest() makes a manifest known by tag and by digest', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const image = await smallImage(store, 'models/digits', '1');
  expect(await store.resolve('models/digits', '1')).toEqual(image);
  expect(await store.resolve('models/digits', image.digest)).toEqual(image);
  expect(await store.resolve('models/digits', '2')).toBeUndefined();
  expect(await store.resolve('digits', '1')).toBeUndefined();
  expect(await store.tags('models/digits')).toEqual(['1']);
  expect(await store.repositories()).toEqual(['models/digits']);
  expect(await store.readManifest('models/digits', '1')).toMatchObject({ kind: 'manifest', descriptor: image });
});

test('LayoutStore.putManifest() without a tag makes it known by digest alone, once', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const image = await smallImage(store, 'digits', undefined);
  await smallImage(store, 'digits', undefined);
  expect(await store.resolve('digits', image.digest)).toEqual(image);
  expect(await store.tags('digits')).toEqual([]);
  expect(await namesIn(folder.path)).toEqual([`digits@${image.digest}`]);
  await smallImage(store, 'digits', '1');
  expect(await namesIn(folder.path)).toEqual(['digits:1']);
});

test('LayoutStore.putManifest() of a tag that moves keeps what it pointed at by its digest', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const first = await smallImage(store, 'digits', 'latest', 'one');
  const second = await smallImage(store, 'digits', 'latest', 'two');
  expect(await store.resolve('digits', 'latest')).toEqual(second);
  expect(await store.resolve('digits', first.digest)).toEqual(first);
  expect(await namesIn(folder.path)).toEqual([`digits@${first.digest}`, 'digits:latest']);
});

test('LayoutStore.removeTag() and removeManifest() remove from one repository alone', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const image = await smallImage(store, 'digits', '1');
  await smallImage(store, 'digits', '2');
  await smallImage(store, 'other', '1');
  await store.removeTag('digits', '1');
  await store.removeTag('digits', 'never-was');
  expect(await namesIn(folder.path)).toEqual(['digits:2', 'other:1']);
  await store.removeTag('digits', '2');
  expect(await store.resolve('digits', image.digest)).toEqual(image);
  await store.removeManifest('digits', image.digest);
  expect(await namesIn(folder.path)).toEqual(['other:1']);
});

test('LayoutStore.putManifest() refuses what it cannot hold, and says all that is missing', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const { digest } = await store.putBlob(Buffer.from('{}'));
  const config = { mediaType: mediaTypes.config, digest, size: 3 };
  const layer = { mediaType: mediaTypes.layer, digest: digestOf('nowhere'), size: 7 };
  const bytes = encodeJson({ schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [layer] });
  const put = (repository: string, tag: string, type: string): Promise<Descriptor> =>
    store.putManifest(repository, tag, bytes, type);
  await expect(put('digits', '1', mediaTypes.manifest)).rejects.toMatchObject({
    code: 'IMAGE_INVALID',
    message: expect.stringMatching(/has 2 bytes, not 3; .* is not there/),
  });
  await expect(put('digits', '1', mediaTypes.index)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  await expect(put('digits', '1', mediaTypes.dockerManifest)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  await expect(put('digits', '1', 'text/plain')).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  await expect(put('Digits', '1', mediaTypes.manifest)).rejects.toMatchObject({ code: 'NAME_INVALID' });
  await expect(put('digits', 'a b', mediaTypes.manifest)).rejects.toMatchObject({ code: 'TAG_INVALID' });
  expect(await store.repositories()).toEqual([]);
});

test('LayoutStore.collectGarbage() removes what no manifest reaches, and nothing young', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const removed = await smallImage(store, 'digits', '1', 'one');
  const kept = await smallImage(store, 'digits', '2', 'two');
  const index = encodeJson({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [kept] });
  await store.putManifest('all', '1', index, mediaTypes.index);
  await store.removeManifest('digits', kept.digest);
  await store.removeManifest('digits', removed.digest);
  expect(await store.collectGarbage()).toEqual({ blobs: 0, bytes: 0 });
  // The config and the layer of the image that is gone, and its manifest.
  expect(await store.collectGarbage({ graceMs: -60_000 })).toMatchObject({ blobs: 3 });
  expect(await store.hasBlob(removed.digest)).toBe(false);
  const document = await store.readManifest('all', '1');
  expect(document).toMatchObject({ index: { manifests: [{ digest: kept.digest }] } });
  expect(await store.hasBlob(kept.digest)).toBe(true);
  expect(await readdir(join(folder.path, 'blobs', 'sha256'))).toHaveLength(4);
});

test('LayoutStore leaves entries of other tools as they are', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const image = await smallImage(store, 'digits', '1');
  const theirs = { ...image, annotations: { 'org.opencontainers.image.ref.name': 'latest' } };
  const index = JSON.parse(await readFile(join(folder.path, 'index.json'), 'utf8')) as { manifests: unknown[] };
  await writeFile(
    join(folder.path, 'index.json'),
    JSON.stringify({ ...index, manifests: [theirs, ...index.manifests] }),
  );
  await smallImage(store, 'digits', '2');
  expect(await namesIn(folder.path)).toEqual(['latest', 'digits:1', 'digits:2']);
  expect(await store.repositories()).toEqual(['digits']);
});

test('LayoutStore loses no manifest of processes that push at once', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const { digest, size } = await smallImage(store, 'digits', 'first');
  const bytes = await store.readBlob(digest);
  const pushers = [0, 1, 2].map((pusher) =>
    runStore(
      folder.path,
      `const bytes = await store.readBlob('${digest}');
       for (let i = 0; i < 10; i += 1) await store.putManifest('digits', '${pusher}-' + i, bytes, '${mediaTypes.manifest}');`,
    ),
  );
  await Promise.all(pushers.map(async (pusher) => expect(await once(pusher, 'exit')).toEqual([0, null])));
  expect(await store.tags('digits')).toHaveLength(31);
  expect(bytes.byteLength).toBe(size);
});

test('LayoutStore.open() sweeps what a killed process left, and not what a living one is writing', async () => {
  await using folder = await temporaryFolder();
  await LayoutStore.open(folder.path);
  const endless = `await store.putBlob((async function* () { for (;;) { yield Buffer.alloc(65536); await new Promise((r) => setTimeout(r, 1)); } })());`;
  const pusher = runStore(folder.path, endless);
  const ingest = join(folder.path, '.ingest');
  await until(async () => (await readdir(ingest)).length > 0, { what: 'a blob being written' });
  await writeFile(join(folder.path, 'index.json.0123456789ab.tmp'), '{');
  await LayoutStore.open(folder.path);
  expect(await readdir(ingest)).toHaveLength(1);
  pusher.kill('SIGKILL');
  await once(pusher, 'exit');
  await LayoutStore.open(folder.path);
  expect(await readdir(ingest)).toEqual([]);
  expect((await readdir(folder.path)).sort()).toEqual(['.ingest', '.lock', 'blobs', 'index.json', 'oci-layout']);
});

test('LayoutStore is valid after a kill at any moment, and the same push then succeeds', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const image = await smallImage(store, 'digits', 'first');
  const push = `const bytes = await store.readBlob('${image.digest}');
    for (let i = 0; ; i += 1) {
      await store.putBlob(Buffer.from('blob ' + process.pid + ' ' + i));
      await store.putManifest('digits', 'tag-' + (i % 50), bytes, '${mediaTypes.manifest}');
      await store.removeTag('digits', 'tag-' + ((i + 25) % 50));
      process.stdout.write('.');
    }`;
  for (const steps of [1, 5, 9, 14, 20]) {
    const pusher = runStore(folder.path, push);
    let done = 0;
    await new Promise<void>((resolve) => {
      pusher.stdout?.on('data', (dots: Buffer) => {
        done += dots.byteLength;
        if (done >= steps) resolve();
      });
    });
    pusher.kill('SIGKILL');
    await once(pusher, 'exit');
    const opened = await LayoutStore.open(folder.path);
    expect(await opened.resolve('digits', 'first')).toEqual(image);
    await smallImage(opened, 'digits', `after-${steps}`);
    const blobs = await readdir(join(folder.path, 'blobs', 'sha256'));
    await Promise.all(blobs.map(async (name) => opened.readBlob(`sha256:${name}`)));
  }
});

test('LayoutStore on a full disk says so and leaves nothing behind', async ({ skip }) => {
  await using folder = await temporaryFolder();
  const mounted = await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'ferry-test', folder.path]).catch(
    () => undefined,
  );
  if (mounted === undefined) skip('a small file system can only be mounted by root');
  await using _mount = { [Symbol.asyncDispose]: async () => void (await run('umount', [folder.path])) };

  const store = await LayoutStore.open(folder.path);
  const image = await smallImage(store, 'digits', '1');
  await expect(store.putBlob(piecesOf(Buffer.alloc(4 * 1024 * 1024, 1), 65_536))).rejects.toMatchObject({
    code: 'DISK_FULL',
    message: expect.stringContaining(folder.path),
  });
  expect(await readdir(join(folder.path, '.ingest'))).toEqual([]);
  await writeFile(join(folder.path, 'ballast'), Buffer.alloc(2 * 1024 * 1024)).catch(() => undefined);
  await expect(smallImage(store, 'digits', '2', 'other')).rejects.toMatchObject({ code: 'DISK_FULL' });
  expect((await readdir(folder.path)).sort()).toEqual([
    '.ingest',
    '.lock',
    'ballast',
    'blobs',
    'index.json',
    'oci-layout',
  ]);
  expect(await store.tags('digits')).toEqual(['1']);
  expect(await store.resolve('digits', '1')).toEqual(image);
});

test('umoci lists the images of the layout', async ({ skip }) => {
  if ((await run('umoci', ['--version']).catch(() => undefined)) === undefined) skip('there is no umoci');
  await using folder = await temporaryFolder();
  const layout = join(folder.path, 'layout');
  await smallImage(await LayoutStore.open(layout), 'models/digits', '1');
  const listed = await run('umoci', ['ls', '--layout', layout]);
  expect(listed.stdout.trim()).toBe('models/digits:1');
});

async function namesIn(folder: string): Promise<readonly (string | undefined)[]> {
  const index = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as { manifests: Descriptor[] };
  return index.manifests.map(({ annotations }) => annotations?.['org.opencontainers.image.ref.name']);
}

async function* piecesOf(bytes: Buffer, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += pieceBytes) yield bytes.subarray(start, start + pieceBytes);
}

function runStore(folder: string, code: string): ReturnType<typeof spawn> {
  const program = `
    import { LayoutStore } from ${JSON.stringify(storeModule)};
    const store = await LayoutStore.open(${JSON.stringify(folder)});
    ${code}`;
  return spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}
