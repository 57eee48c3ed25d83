import { randomBytes } from 'node:crypto';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { digestOf } from '../../shared/digest.ts';
import { DirectWrite } from '../../shared/direct-write.ts';
import { HashedFile } from '../../shared/hashed-file.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';

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

test.each(['pieces', 'a part that is read'])(
  'a large file that comes in %s is written past the page cache',
  async (what) => {
    if (process.platform !== 'linux') return;
    await using folder = await temporaryFolder();
    await using file = await open(join(folder.path, 'file'), 'wx+');
    const opening = vi.spyOn(DirectWrite, 'open');
    const plain = vi.spyOn(file, 'write');
    onTestFinished(() => void vi.restoreAllMocks());
    const hashed = new HashedFile(file, { isReadSoon: false });
    const asPart = async function* (): AsyncGenerator<ReturnType<typeof readerOf>> {
      yield readerOf(content, megabyte);
    };
    await hashed.append(what === 'pieces' ? piecesOf(content, 300_000) : asPart());
    expect(opening).toHaveBeenCalledTimes(1);
    const plainly = plain.mock.calls.reduce((sum, [, , length]) => sum + Number(length), 0);
    expect(plainly).toBeLessThan(6 * megabyte);
  },
);

test('a large file is written plainly where the file system takes no direct write', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'file');
  await using file = await open(path, 'wx+');
  const before = await openFiles();
  const handles = Object.getPrototypeOf(file) as { write(...args: unknown[]): Promise<unknown> };
  const write = Reflect.get(handles, 'write');
  let refused = 0;
  // What is not this file's own handle is the one that writes past the page cache.
  const refusing = vi.spyOn(handles, 'write').mockImplementation(function (this: unknown, ...args: unknown[]) {
    if (this === file) return Reflect.apply(write, this, args);
    refused += 1;
    return Promise.reject(Object.assign(new Error('EINVAL: invalid argument, write'), { code: 'EINVAL' }));
  });
  onTestFinished(() => refusing.mockRestore());
  const hashed = new HashedFile(file, { isReadSoon: false });
  await hashed.append(piecesOf(content, 300_000));
  expect(await hashed.finish()).toEqual({ digest: digestOf(content), bytes: content.byteLength });
  expect((await readFile(path)).equals(content)).toBe(true);
  expect(await openFiles()).toBe(before);
  expect(refused > 0).toBe(process.platform === 'linux');
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

test('append() uses a piece only until it asks for the next one, and what it gives on until that is done', async () => {
  await using folder = await temporaryFolder();
  await using file = await open(join(folder.path, 'file'), 'wx+');
  const hashed = new HashedFile(file, { isReadSoon: false });
  const piece = Buffer.alloc(300_000);
  function* overwritten(): Generator<Uint8Array> {
    for (const next of piecesOf(content, piece.byteLength)) {
      piece.set(next);
      yield piece.subarray(0, next.byteLength);
      piece.fill(0);
    }
  }
  const given: Buffer[] = [];
  const alsoTo = async (bytes: Uint8Array): Promise<void> => {
    // Long enough for all other windows to be filled meanwhile.
    await setImmediate();
    given.push(Buffer.from(bytes));
  };
  await hashed.append(overwritten(), { alsoTo });
  expect(await hashed.finish()).toEqual({ digest: digestOf(content), bytes: content.byteLength });
  expect(digestOf(Buffer.concat(given))).toBe(digestOf(content));
  expect((await readFile(join(folder.path, 'file'))).equals(content)).toBe(true);
});

test.each([1000, 4096, 700_001, megabyte, content.byteLength])(
  'append() has what is to be read read to where it is written from, %d bytes at a time',
  async (size) => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'file');
    await using file = await open(path, 'wx+');
    const hashed = new HashedFile(file, { isReadSoon: false });
    const reader = readerOf(content, size);
    async function* parts(): AsyncGenerator<Uint8Array | typeof reader> {
      yield Buffer.from('before');
      yield reader;
      yield Buffer.from('after');
    }
    const given: Buffer[] = [];
    const alsoTo = async (bytes: Uint8Array): Promise<void> => {
      await setImmediate();
      await setImmediate();
      given.push(Buffer.from(bytes));
    };
    await hashed.append(parts(), { alsoTo });
    const whole = Buffer.concat([Buffer.from('before'), content, Buffer.from('after')]);
    expect(await hashed.finish()).toEqual({ digest: digestOf(whole), bytes: whole.byteLength });
    expect(digestOf(Buffer.concat(given))).toBe(digestOf(whole));
    expect((await readFile(path)).equals(whole)).toBe(true);
  },
);

test.each(['piece', 'part'])('append() asks a source for no more %ss when writing has failed', async (what) => {
  await using folder = await temporaryFolder();
  await using file = await open(join(folder.path, 'file'), 'wx+');
  vi.spyOn(file, 'write').mockRejectedValue(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }));
  const hashed = new HashedFile(file);
  let asked = 0;
  const reader = { read: async (target: Uint8Array) => ((asked += 1), target.byteLength) };
  async function* endless(): AsyncGenerator<Uint8Array | typeof reader> {
    if (what === 'part') yield reader;
    else for (; ; asked += 1) yield content.subarray(0, megabyte);
  }
  await expect(hashed.append(endless())).rejects.toThrow('ENOSPC');
  expect(asked).toBeLessThan(20);
  await expect(hashed.append([Buffer.from('more')])).rejects.toThrow('ENOSPC');
});

test('append() writes what trickles in before more comes', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'file');
  await using file = await open(path, 'wx+');
  const hashed = new HashedFile(file);
  async function* trickle(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('first');
    await until(async () => (await readFile(path, 'utf8')) === 'first');
    yield Buffer.from('second');
    await until(async () => (await readFile(path, 'utf8')) === 'firstsecond');
  }
  await hashed.append(trickle());
  expect(hashed.bytes).toBe('firstsecond'.length);
});

/** Gives bytes to be read, at most so many at a time. */
function readerOf(bytes: Uint8Array, atOnce: number): { read(target: Uint8Array): Promise<number> } {
  let at = 0;
  return {
    read: async (target) => {
      await setImmediate();
      const part = bytes.subarray(at, at + Math.min(atOnce, target.byteLength));
      target.set(part);
      at += part.byteLength;
      return part.byteLength;
    },
  };
}

/** How many files this process has open; 0 where the system does not tell. */
async function openFiles(): Promise<number> {
  return process.platform === 'linux' ? (await readdir('/proc/self/fd')).length : 0;
}
