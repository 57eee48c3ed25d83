import { execFile } from 'node:child_process';
import { mkdir, open, readFile, stat, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { Digester, digestOf } from '../../../shared/digest.ts';
import { type LayerEntry, tarLayer } from '../../../shared/oci/tar-layer.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

const run = promisify(execFile);
const long = `models/${'very-long-folder/'.repeat(16)}modèle.onnx`;

const entries: readonly LayerEntry[] = [
  { kind: 'file', path: '/models/digits/digits.onnx', content: Buffer.from('weights') },
  { kind: 'file', path: '/usr/local/bin/node', mode: 0o755, content: Buffer.from('#!') },
  { kind: 'directory', path: '/tmp', mode: 0o1777 },
  { kind: 'symlink', path: '/bin', target: 'usr/bin' },
  { kind: 'file', path: long, content: Buffer.from('é') },
  { kind: 'file', path: '/empty', content: new Uint8Array() },
];

test('tarLayer() writes what tar unpacks: contents, modes, links, long names, implied folders', async () => {
  await using folder = await temporaryFolder();
  const archive = join(folder.path, 'layer.tar');
  await writeFile(archive, await bytesOf(tarLayer(entries)));
  const root = join(folder.path, 'root');
  await mkdir(root);
  await run('tar', ['-xpf', archive, '-C', root]);

  expect(await readFile(join(root, 'models/digits/digits.onnx'), 'utf8')).toBe('weights');
  expect(await readFile(join(root, long), 'utf8')).toBe('é');
  expect(await readlink(join(root, 'bin'))).toBe('usr/bin');
  const modeOf = async (path: string): Promise<number> => (await stat(join(root, path))).mode & 0o7777;
  expect(await modeOf('usr/local/bin/node')).toBe(0o755);
  expect(await modeOf('tmp')).toBe(0o1777);
  expect(await modeOf('models/digits')).toBe(0o755);
  expect((await stat(join(root, 'usr/local/bin/node'))).mtimeMs).toBe(0);
  expect((await stat(join(root, 'empty'))).size).toBe(0);
});

test('tarLayer() gives the same bytes in whatever order the entries come', async () => {
  const forwards = digestOf(await bytesOf(tarLayer(entries)));
  expect(digestOf(await bytesOf(tarLayer(entries.toReversed())))).toBe(forwards);
  // The digest itself is the contract: another one makes every image of every user a new one.
  expect(forwards).toBe('sha256:493ef89204c283eed7cd04b20f808bb885f97891ba8f8171aa8f9e53e7006057');
});

test('tarLayer() gives the same bytes for a file and for its content in memory', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'weights');
  const weights = Buffer.alloc(3 * 1024 * 1024 + 5, 'weights');
  await writeFile(path, weights);
  const fromFile = tarLayer([{ kind: 'file', path: 'w', content: { file: path, size: weights.byteLength } }]);
  const fromMemory = tarLayer([{ kind: 'file', path: 'w', content: weights }]);
  expect(digestOf(await bytesOf(fromFile))).toBe(digestOf(await bytesOf(fromMemory)));
});

test('tarLayer() streams a file of over 8 GiB in little memory, with a size that tar reads', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'sparse');
  const size = 9 * 1024 ** 3;
  await using file = await open(path, 'w');
  await file.truncate(size);
  const pieces = tarLayer([{ kind: 'file', path: 'weights.bin', content: { file: path, size } }]);
  const { value: header } = await pieces.next();
  const archive = join(folder.path, 'head.tar');
  await writeFile(archive, header ?? '');
  let bytes = 0;
  for (let taken = 0; taken < 256; taken += 1) bytes += (await pieces.next()).value?.byteLength ?? 0;
  await pieces.return();
  expect(bytes).toBeGreaterThan(32 * 1024 * 1024);
  const listed = await run('tar', ['-tvf', archive]).catch((error: { stdout: string }) => error);
  expect(listed.stdout).toContain(` ${size} `);
});

test('tarLayer() refuses a file that is shorter or longer than was said', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'file');
  await writeFile(path, 'four');
  for (const size of [3, 5]) {
    const tar = tarLayer([{ kind: 'file', path: 'f', content: { file: path, size } }]);
    await expect(bytesOf(tar)).rejects.toMatchObject({
      code: 'FILE_UNREADABLE',
      message: expect.stringContaining(`has 4 bytes, ${size} were wanted`),
    });
  }
});

test('tarLayer() says which file it cannot read', async () => {
  const tar = tarLayer([{ kind: 'file', path: 'f', content: { file: '/nowhere/at/all', size: 1 } }]);
  await expect(bytesOf(tar)).rejects.toMatchObject({ code: 'FILE_UNREADABLE', message: /"\/nowhere\/at\/all"/ });
});

test.each<[string, readonly LayerEntry[]]>([
  ['..', [{ kind: 'file', path: 'a/../b', content: new Uint8Array() }]],
  ['an empty component', [{ kind: 'file', path: 'a//b', content: new Uint8Array() }]],
  ['no name', [{ kind: 'directory', path: '/' }]],
  ['a zero byte', [{ kind: 'directory', path: 'a\0b' }]],
  [
    'a name twice',
    [
      { kind: 'directory', path: 'a' },
      { kind: 'symlink', path: '/a/', target: 'b' },
    ],
  ],
  [
    'a file under a link',
    [
      { kind: 'symlink', path: 'a', target: 'b' },
      { kind: 'directory', path: 'a/b' },
    ],
  ],
])('tarLayer() refuses %s', async (_what, wrong) => {
  await expect(bytesOf(tarLayer(wrong))).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
});

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const digester = new Digester();
  const all: Uint8Array[] = [];
  for await (const piece of pieces) {
    digester.update(piece);
    all.push(piece);
  }
  const bytes = Buffer.concat(all);
  expect(digester.finish().digest).toBe(digestOf(bytes));
  return bytes;
}
