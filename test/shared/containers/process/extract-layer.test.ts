import { createWriteStream } from 'node:fs';
import { lstat, mkdir, readdir, readFile, readlink, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { type Headers, pack } from 'tar-stream';
import { expect, test } from 'vitest';
import { extractLayer } from '../../../../shared/containers/process/extract-layer.ts';
import { mediaTypes } from '../../../../shared/oci/media-types.ts';
import { temporaryFolder } from '../../../temporary-folder.ts';

type Entry = Headers & { readonly content?: string };

async function writeTar(path: string, entries: readonly Entry[], gzip = false): Promise<void> {
  const tar = pack();
  const writing = gzip ? pipeline(tar, createGzip(), createWriteStream(path)) : pipeline(tar, createWriteStream(path));
  for (const { content, ...header } of entries) {
    if (content === undefined) tar.entry(header);
    else tar.entry(header, content);
  }
  tar.finalize();
  await writing;
}

async function extractAll(folder: string, ...layers: (readonly Entry[])[]): Promise<string> {
  const root = join(folder, 'root');
  for (const [index, entries] of layers.entries()) {
    const path = join(folder, `layer${index}`);
    await writeTar(path, entries);
    await extractLayer(path, mediaTypes.layer, root);
  }
  return root;
}

test('extractLayer() makes files, folders and links with their modes', async () => {
  await using folder = await temporaryFolder();
  const root = await extractAll(folder.path, [
    { name: 'bin/', type: 'directory', mode: 0o755 },
    { name: 'bin/tool', mode: 0o755, content: 'x' },
    { name: 'bin/link', type: 'symlink', linkname: 'tool' },
    { name: 'bin/hard', type: 'link', linkname: 'bin/tool' },
    { name: '/etc/secret', mode: 0o600, content: 'y' },
  ]);
  expect((await lstat(join(root, 'bin/tool'))).mode & 0o777).toBe(0o755);
  expect(await readlink(join(root, 'bin/link'))).toBe('tool');
  expect(await readFile(join(root, 'bin/hard'), 'utf8')).toBe('x');
  expect(await readFile(join(root, 'etc/secret'), 'utf8')).toBe('y');
});

test('extractLayer() takes away what a later layer says is gone, and replaces what it brings anew', async () => {
  await using folder = await temporaryFolder();
  const root = await extractAll(
    folder.path,
    [
      { name: 'a/one', content: '1' },
      { name: 'a/two', content: '2' },
      { name: 'b/old', content: 'old' },
      { name: 'c', type: 'symlink', linkname: 'a/one' },
    ],
    [
      { name: 'a/.wh.one', content: '' },
      { name: 'b/.wh..wh..opq', content: '' },
      { name: 'b/new', content: 'new' },
      { name: 'c', content: 'now a file' },
    ],
  );
  expect(await readdir(join(root, 'a'))).toEqual(['two']);
  expect(await readdir(join(root, 'b'))).toEqual(['new']);
  expect(await readFile(join(root, 'c'), 'utf8')).toBe('now a file');
});

test('extractLayer() reads gzip', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'layer');
  await writeTar(path, [{ name: 'a', content: 'x' }], true);
  await extractLayer(path, 'application/vnd.oci.image.layer.v1.tar+gzip', join(folder.path, 'root'));
  expect(await readFile(join(folder.path, 'root/a'), 'utf8')).toBe('x');
});

test.each([
  ['..', [{ name: '../escaped', content: 'x' }]],
  ['a hard link to ..', [{ name: 'a', type: 'link', linkname: '../outside' } as const]],
])('extractLayer() refuses an entry that gets out by %s', async (_, entries) => {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, 'outside'), 'mine');
  await expect(extractAll(folder.path, entries)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  expect(await readdir(folder.path)).not.toContain('escaped');
});

test('extractLayer() follows a link as if the image were the root, so that none leads out', async () => {
  await using folder = await temporaryFolder();
  await mkdir(join(folder.path, 'outside'));
  await mkdir(join(folder.path, 'root'));
  await symlink(join(folder.path, 'outside'), join(folder.path, 'root/door'));
  const root = await extractAll(folder.path, [
    { name: 'lib', type: 'symlink', linkname: '/usr/lib' },
    { name: 'lib/one', content: '1' },
    { name: 'up', type: 'symlink', linkname: '../../../..' },
    { name: 'up/two', content: '2' },
    { name: 'door/three', content: '3' },
  ]);
  expect(await readFile(join(root, 'usr/lib/one'), 'utf8')).toBe('1');
  expect(await readFile(join(root, 'two'), 'utf8')).toBe('2');
  expect(await readdir(join(folder.path, 'outside'))).toEqual([]);
});

test.each([
  ['no tar at all', 'this is no tar, '.repeat(100)],
  ['a tar that is cut short', undefined],
])('extractLayer() refuses %s', async (_, text) => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'layer');
  await writeTar(path, [{ name: 'a', content: 'x'.repeat(5000) }]);
  await writeFile(path, text ?? (await readFile(path)).subarray(0, 2000));
  await expect(extractLayer(path, mediaTypes.layer, join(folder.path, 'root'))).rejects.toMatchObject({
    code: 'IMAGE_INVALID',
  });
});
