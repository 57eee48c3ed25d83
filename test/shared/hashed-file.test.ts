import { randomBytes } from 'node:crypto';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { digestOf } from '../../shared/digest.ts';
import { DirectWrite } from '../../shared/direct-write.ts';
import { HashedFile } from '../../shared/hashed-file.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const megabyte = 1024 * 1024;
/** More than is written through the page cache, and no multiple of a block. */
const content = randomBytes(21 * megabyte + 777);

function* piecesOf(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

test.each([
  ['of no whole block', 100_001],
  ['of whole blocks', megabyte],
  ['smaller than a block', 1500],
  ['all in one', content.byteLength],
])('a large file that is not read soon is what came in pieces %s', async (_size, size) => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'file');
  await using file = await open(path, 'wx+');
  const hashed = new HashedFile(file, { isReadSoon: false });
  await hashed.append(piecesOf(content, size));
  expect(await hashed.finish()).toEqual({ digest: digestOf(content), bytes: content.byteLength });
  expect((await readFile(path)).equals(content)).toBe(true);
});

test('a large file is written plainly where the file system takes no direct write', async () => {
  const direct = vi.spyOn(DirectWrite.prototype, 'write');
  direct.mockRejectedValue(Object.assign(new Error('EINVAL: invalid argument, write'), { code: 'EINVAL' }));
  onTestFinished(() => direct.mockRestore());
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'file');
  await using file = await open(path, 'wx+');
  const before = await openFiles();
  const hashed = new HashedFile(file, { isReadSoon: false });
  await hashed.append(piecesOf(content, 300_000));
  expect(await hashed.finish()).toEqual({ digest: digestOf(content), bytes: content.byteLength });
  expect((await readFile(path)).equals(content)).toBe(true);
  expect(await openFiles()).toBe(before);
  // It is asked once, and where there is no such thing not at all.
  expect(direct.mock.calls.length).toBeLessThanOrEqual(1);
});

test('a large file goes on at any byte after its source broke off, and leaves nothing open', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'file');
  await using file = await open(path, 'wx+');
  const before = await openFiles();
  const hashed = new HashedFile(file, { isReadSoon: false });
  const breakAt = 18 * megabyte + 1;
  function* broken(): Generator<Uint8Array> {
    yield* piecesOf(content.subarray(0, breakAt), 300_000);
    throw new Error('the source broke off');
  }
  await expect(hashed.append(broken())).rejects.toThrow('the source broke off');
  expect(hashed.bytes).toBe(breakAt);
  expect(await openFiles()).toBe(before);
  await hashed.append(piecesOf(content.subarray(breakAt), 70_000));
  expect(await hashed.finish()).toEqual({ digest: digestOf(content), bytes: content.byteLength });
  expect((await readFile(path)).equals(content)).toBe(true);
});

/** How many files this process has open; 0 where the system does not tell. */
async function openFiles(): Promise<number> {
  return process.platform === 'linux' ? (await readdir('/proc/self/fd')).length : 0;
}
