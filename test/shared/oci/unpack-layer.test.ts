import { lstat, mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type Headers, pack } from 'tar-stream';
import { expect, test } from 'vitest';
import { mediaTypes } from '../../../shared/oci/media-types.ts';
import { tarLayer } from '../../../shared/oci/tar-layer.ts';
import { unpackLayer, type UnpackLayerOptions } from '../../../shared/oci/unpack-layer.ts';
import { hasCommand, runCommand } from './commands.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

/** An entry of a layer as anyone may write it, well or badly. */
type AnyEntry = Headers & { readonly content?: string };

test.each([
  [mediaTypes.layer, (tar: Buffer) => tar],
  [mediaTypes.layerGzip, (tar: Buffer) => gzipSync(tar)],
  [mediaTypes.dockerLayerGzip, (tar: Buffer) => gzipSync(tar)],
  [mediaTypes.layerZstd, (tar: Buffer) => zstdCompressSync(tar)],
])('unpackLayer() unpacks %s', async (mediaType, compress) => {
  await using root = await temporaryFolder();
  const layer = await gather(
    tarLayer([
      { kind: 'file', path: 'app/run', mode: 0o755, content: Buffer.from('#!') },
      { kind: 'file', path: 'weights', content: Buffer.alloc(300_000, 'w') },
      { kind: 'file', path: 'empty', content: new Uint8Array() },
      { kind: 'symlink', path: 'bin', target: 'usr/bin' },
      { kind: 'directory', path: 'tmp', mode: 0o1777 },
    ]),
  );
  await unpackLayer(pieces(compress(layer)), root.path, { mediaType });
  expect(await readFile(join(root.path, 'app/run'), 'utf8')).toBe('#!');
  expect((await stat(join(root.path, 'app/run'))).mode & 0o7777).toBe(0o755);
  expect((await stat(join(root.path, 'weights'))).size).toBe(300_000);
  expect((await stat(join(root.path, 'empty'))).size).toBe(0);
  expect((await stat(join(root.path, 'tmp'))).mode & 0o7777).toBe(0o1777);
  expect(await readlink(join(root.path, 'bin'))).toBe('usr/bin');
});

test('unpackLayer() puts layers on top of each other: replaced, hidden, and emptied', async () => {
  await using root = await temporaryFolder();
  await unpack(root.path, [
    { name: 'etc/one', content: '1' },
    { name: 'etc/two', content: '2' },
    { name: 'var/old/a', content: 'a' },
    { name: 'srv/folder/file', content: 'f' },
    { name: 'kind', type: 'directory' },
  ]);
  await unpack(root.path, [
    { name: 'etc/.wh.one' },
    { name: 'etc/two', content: 'zwei' },
    { name: 'var/old/b', content: 'b' },
    { name: 'var/old/.wh..wh..opq' },
    { name: 'srv/.wh.folder' },
    { name: 'kind', content: 'a file now' },
    { name: '.wh..wh.plnk', type: 'directory' },
  ]);
  expect(await readdir(join(root.path, 'etc'))).toEqual(['two']);
  expect(await readFile(join(root.path, 'etc/two'), 'utf8')).toBe('zwei');
  expect(await readdir(join(root.path, 'var/old'))).toEqual(['b']);
  expect(await readdir(join(root.path, 'srv'))).toEqual([]);
  expect(await readFile(join(root.path, 'kind'), 'utf8')).toBe('a file now');
  expect((await readdir(root.path)).sort()).toEqual(['etc', 'kind', 'srv', 'var']);
});

test('unpackLayer() hides what is below and not what its own layer puts there', async () => {
  await using root = await temporaryFolder();
  await unpack(root.path, [{ name: 'etc/one', content: 'below' }]);
  await unpack(root.path, [{ name: 'etc/one', content: 'own' }, { name: 'etc/.wh.one' }]);
  expect(await readFile(join(root.path, 'etc/one'), 'utf8')).toBe('own');
});

test('unpackLayer() follows links of the image within the image', async () => {
  await using root = await temporaryFolder();
  await unpack(root.path, [
    { name: 'usr/lib/', type: 'directory' },
    { name: 'lib', type: 'symlink', linkname: 'usr/lib' },
    { name: 'etc/alternatives/awk', type: 'symlink', linkname: '/usr/bin/mawk' },
    { name: 'usr/bin/mawk', content: 'awk' },
    { name: 'lib/libc.so', content: 'c' },
    { name: 'usr/lib/libc.so.6', type: 'link', linkname: 'usr/lib/libc.so' },
  ]);
  expect(await readFile(join(root.path, 'usr/lib/libc.so'), 'utf8')).toBe('c');
  expect((await stat(join(root.path, 'usr/lib/libc.so.6'))).nlink).toBe(2);
  expect(await readlink(join(root.path, 'etc/alternatives/awk'))).toBe('../../usr/bin/mawk');
  expect(await readFile(join(root.path, 'etc/alternatives/awk'), 'utf8')).toBe('awk');
});

test('unpackLayer() replaces a link rather than writing through it', async () => {
  await using root = await temporaryFolder();
  await unpack(root.path, [
    { name: 'target', content: 'kept' },
    { name: 'file', type: 'symlink', linkname: 'target' },
  ]);
  await unpack(root.path, [{ name: 'file', content: 'new' }]);
  expect(await readFile(join(root.path, 'target'), 'utf8')).toBe('kept');
  expect((await lstat(join(root.path, 'file'))).isFile()).toBe(true);
});

test('unpackLayer() leaves out set-user-id, and lets who unpacks read and remove all', async () => {
  await using root = await temporaryFolder();
  await unpack(root.path, [
    { name: 'sudo', mode: 0o4755, content: '' },
    { name: 'shadow', mode: 0o040, content: '' },
    { name: 'closed/', type: 'directory', mode: 0o055 },
  ]);
  const modeOf = async (name: string): Promise<number> => (await stat(join(root.path, name))).mode & 0o7777;
  expect(await modeOf('sudo')).toBe(0o755);
  expect(await modeOf('shadow')).toBe(0o440);
  expect(await modeOf('closed')).toBe(0o755);
});

test.each<[string, readonly AnyEntry[], string]>([
  ['".."', [{ name: 'a/../../b', content: '' }], 'has ".."'],
  ['an absolute path', [{ name: '/etc/passwd', content: '' }], 'absolute'],
  [
    'a name twice',
    [
      { name: 'a', content: '1' },
      { name: './a', content: '2' },
    ],
    'twice',
  ],
  [
    'a folder twice',
    [
      { name: 'a/', type: 'directory' },
      { name: 'a', type: 'directory' },
    ],
    'twice',
  ],
  ['a link out', [{ name: 'a/b', type: 'symlink', linkname: '../../c' }], 'leads out'],
  ['a link to nothing', [{ name: 'a', type: 'symlink', linkname: '' }], 'leads out'],
  ['a hard link out', [{ name: 'a', type: 'link', linkname: '../b' }], 'has ".."'],
  ['a hard link to an absolute path', [{ name: 'a', type: 'link', linkname: '/etc/passwd' }], 'absolute'],
  ['a hard link to what is not there', [{ name: 'a', type: 'link', linkname: 'b' }], 'no file'],
  [
    'a hard link to a link',
    [
      { name: 'a/b', type: 'symlink', linkname: '../c' },
      { name: 'd', type: 'link', linkname: 'a/b' },
    ],
    'no file',
  ],
  [
    'a hard link to itself',
    [
      { name: 'a', content: '' },
      { name: 'b/../a', type: 'link', linkname: 'a' },
    ],
    'has ".."',
  ],
  ['a character device', [{ name: 'null', type: 'character-device', devmajor: 1, devminor: 3 }], 'character-device'],
  ['a block device', [{ name: 'sda', type: 'block-device', devmajor: 8, devminor: 0 }], 'block-device'],
  ['a pipe', [{ name: 'pipe', type: 'fifo' }], 'fifo'],
  [
    'a file in a file',
    [
      { name: 'a', content: '' },
      { name: 'a/b', content: '' },
    ],
    'no folder',
  ],
  [
    'links in a circle',
    [
      { name: 'a', type: 'symlink', linkname: 'b' },
      { name: 'b', type: 'symlink', linkname: 'a' },
      { name: 'a/c', content: '' },
    ],
    'links',
  ],
  ['a whiteout of its folder', [{ name: 'a/.wh..', content: '' }], 'hides no name'],
])('unpackLayer() refuses %s', async (_what, entries, why) => {
  await using folder = await temporaryFolder();
  const root = join(folder.path, 'root');
  await mkdir(root);
  await expect(unpack(root, entries)).rejects.toMatchObject({
    code: 'IMAGE_INVALID',
    message: expect.stringContaining(why),
  });
  expect(await readdir(folder.path)).toEqual(['root']);
});

test('unpackLayer() lets no chain of links lead out', async () => {
  await using folder = await temporaryFolder();
  const root = join(folder.path, 'root');
  await mkdir(root);
  // Each link seems to stay inside when the ones before it are taken for folders.
  await unpack(root, [
    { name: 'here', type: 'symlink', linkname: '.' },
    { name: 'out', type: 'symlink', linkname: 'here/here/here/../../..' },
    { name: 'out/escaped', content: 'inside' },
    { name: 'deep/er/', type: 'directory' },
    { name: 'deep/er/up', type: 'symlink', linkname: '../..' },
    { name: 'short', type: 'symlink', linkname: 'deep/er/up' },
    { name: 'short/also', content: 'inside' },
  ]);
  expect(await readdir(folder.path)).toEqual(['root']);
  expect(await readFile(join(root, 'escaped'), 'utf8')).toBe('inside');
  expect(await readFile(join(root, 'also'), 'utf8')).toBe('inside');
});

test('unpackLayer() refuses what is no layer of its media type, and what ends too early', async () => {
  await using root = await temporaryFolder();
  const tar = await tarOf([{ name: 'a', content: 'x'.repeat(5000) }]);
  const wrong: readonly [Buffer, string][] = [
    [Buffer.alloc(4096, 'no tar'), mediaTypes.layer],
    [tar.subarray(0, 3000), mediaTypes.layer],
    [tar, mediaTypes.layerGzip],
    [tar, mediaTypes.layerZstd],
    [gzipSync(tar).subarray(0, 40), mediaTypes.layerGzip],
    [gzipSync(tar), mediaTypes.layer],
    [tar, 'application/zip'],
  ];
  for (const [bytes, mediaType] of wrong) {
    await expect(unpackLayer(pieces(bytes), root.path, { mediaType })).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  }
});

test('unpackLayer() refuses a small layer that unpacks to too much', async () => {
  await using root = await temporaryFolder();
  const bomb = gzipSync(await tarOf([{ name: 'a', content: '0'.repeat(2_000_000) }]));
  const options = { mediaType: mediaTypes.layerGzip, bytesMax: 1_000_000 };
  await expect(unpackLayer(pieces(bomb), root.path, options)).rejects.toMatchObject({
    code: 'IMAGE_INVALID',
    message: expect.stringContaining('1000000 bytes'),
  });
});

test('unpackLayer() refuses a name without end, before it fills the memory', async () => {
  await using root = await temporaryFolder();
  const [header] = [(await tarOf([{ name: 'a', type: 'pax-header', size: 4 * 1024 ** 3 }])).subarray(0, 512)];
  const endless = (async function* (): AsyncGenerator<Uint8Array> {
    yield header;
    for (let mebibyte = 0; mebibyte < 4096; mebibyte += 1) yield Buffer.alloc(1024 * 1024, 'a');
  })();
  await expect(unpackLayer(endless, root.path, { mediaType: mediaTypes.layer })).rejects.toMatchObject({
    code: 'IMAGE_INVALID',
    message: expect.stringContaining('name of over'),
  });
});

test('unpackLayer() passes on the failure of its source and ends with its signal', async () => {
  await using root = await temporaryFolder();
  const tar = await tarOf([{ name: 'a', content: 'x'.repeat(5000) }]);
  for (const [mediaType, bytes] of [
    [mediaTypes.layer, tar],
    [mediaTypes.layerGzip, gzipSync(tar)],
  ] as const) {
    const failing = (async function* (): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, bytes.byteLength / 2);
      throw Object.assign(new Error('cut off'), { code: 'ECONNRESET' });
    })();
    await expect(unpackLayer(failing, root.path, { mediaType })).rejects.toThrow('cut off');
  }
  const signal = AbortSignal.abort(new Error('given up'));
  await expect(unpackLayer(pieces(tar), root.path, { mediaType: mediaTypes.layer, signal })).rejects.toThrow(
    'given up',
  );
});

test('unpackLayer() on a full disk says so', async ({ skip }) => {
  await using root = await temporaryFolder();
  if (!(await hasCommand('mount', '-t', 'tmpfs', '-o', 'size=1m', 'ferry-test', root.path))) {
    skip('a small file system can only be mounted by root');
  }
  await using _mount = { [Symbol.asyncDispose]: async () => void (await runCommand('umount', [root.path])) };
  await expect(unpack(root.path, [{ name: 'a', content: '0'.repeat(3_000_000) }])).rejects.toMatchObject({
    code: 'DISK_FULL',
  });
});

test('unpackLayer() reads what GNU tar writes, long names and sparse modes among it', async () => {
  await using folder = await temporaryFolder();
  const long = `${'folder-of-a-long-name/'.repeat(10)}file`;
  const source = join(folder.path, 'source');
  await mkdir(join(source, long, '..'), { recursive: true });
  await writeFile(join(source, long), 'found');
  await symlink('file', join(source, 'link'));
  const archive = join(folder.path, 'layer.tar');
  for (const format of ['gnu', 'pax', 'ustar']) {
    await runCommand('tar', ['--format', format, '-cf', archive, '-C', source, '.']);
    const root = join(folder.path, format);
    await mkdir(root);
    await unpackLayer(pieces(await readFile(archive)), root, { mediaType: mediaTypes.layer });
    expect(await readFile(join(root, long), 'utf8')).toBe('found');
    expect(await readlink(join(root, 'link'))).toBe('file');
  }
});

async function unpack(
  root: string,
  entries: readonly AnyEntry[],
  options: Partial<UnpackLayerOptions> = {},
): Promise<void> {
  const tar = await tarOf(entries);
  await unpackLayer(pieces(tar), root, { mediaType: mediaTypes.layer, ...options });
}

async function tarOf(entries: readonly AnyEntry[]): Promise<Buffer> {
  const tar = pack();
  for (const { content, ...header } of entries) {
    const full = {
      type: 'file' as const,
      mode: header.type === 'directory' ? 0o755 : 0o644,
      mtime: new Date(0),
      ...header,
    };
    if (full.type === 'file') tar.entry(full, Buffer.from(content ?? ''));
    else tar.entry(full);
  }
  tar.finalize();
  return gather(tar);
}

async function gather(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of source) all.push(piece);
  return Buffer.concat(all);
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += 1000) yield bytes.subarray(start, start + 1000);
}
