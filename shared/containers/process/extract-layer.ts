import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, lstat, link, mkdir, rm, symlink, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { extract, type Headers } from 'tar-stream';
import { FerryError, isFerryError, systemCodeOf } from '../../errors.ts';
import { resolveInRoot } from './image-root.ts';

/** Most entries that a layer may have; a distribution's whole file system has about 100,000. */
const entriesMax = 1_000_000;

/** What marks a file of a layer as "that of a layer below is gone". @see OCI image-spec 1.1, layer.md#whiteouts */
const whiteoutPrefix = '.wh.';
/** What marks a folder of a layer as "nothing of the layers below is in it". */
const opaqueMarker = '.wh..wh..opq';

/**
 * Unpacks a layer into a folder over what layers below have put there. Owners are left out, devices and pipes too: what is unpacked runs
 * as one user. No entry gets out of the folder: not by `..`, not through a link that the layer itself brings.
 * @param path a tar as it is, or compressed with gzip or Zstandard
 * @throws {FerryError} IMAGE_INVALID when it is no tar, or an entry would be outside of the folder
 * @throws {FerryError} DISK_FULL
 */
export async function extractLayer(
  path: string,
  mediaType: string,
  folder: string,
  signal?: AbortSignal,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const entries = extract();
  const decompressed = decompression(mediaType);
  const source = createReadStream(path);
  const options = signal === undefined ? {} : { signal };
  const reading =
    decompressed === undefined ? pipeline(source, entries, options) : pipeline(source, decompressed, entries, options);
  // Without this, an entry whose bytes never come would be waited for for ever.
  const cut = new AbortController();
  reading.catch((error: unknown) => cut.abort(error));
  let count = 0;
  try {
    for await (const entry of entries) {
      count += 1;
      if (count > entriesMax) throw outside(path, `it has more than ${entriesMax} entries`);
      await extractEntry(path, folder, entry.header, { content: entry, signal: cut.signal });
      entry.resume();
    }
    await reading;
  } catch (cause) {
    if (isFerryError(cause) || signal?.aborted) throw cause;
    if (systemCodeOf(cause) === 'ENOSPC') {
      throw new FerryError('DISK_FULL', `Cannot unpack a layer into "${folder}": no space is left`, { cause });
    }
    throw new FerryError('IMAGE_INVALID', `Cannot unpack the layer "${path}": it is no tar that can be read`, {
      cause,
    });
  }
}

function decompression(mediaType: string): NodeJS.ReadWriteStream | undefined {
  if (mediaType.endsWith('gzip')) return createGunzip();
  return mediaType.endsWith('zstd') ? createZstdDecompress() : undefined;
}

/** The bytes of an entry, and what says that no more will come. */
interface EntryBody {
  readonly content: NodeJS.ReadableStream;
  readonly signal: AbortSignal;
}

async function extractEntry(layer: string, root: string, header: Headers, body: EntryBody): Promise<void> {
  const target = await safePath(layer, root, header.name);
  const name = basename(target);
  if (target === root) return;
  if (name === opaqueMarker) {
    await rm(dirname(target), { recursive: true, force: true });
    await mkdir(dirname(target), { recursive: true });
  } else if (name.startsWith(whiteoutPrefix)) {
    await rm(join(dirname(target), name.slice(whiteoutPrefix.length)), { recursive: true, force: true });
  } else {
    await mkdir(dirname(target), { recursive: true });
    await writeEntry({ layer, root, target, header, body });
  }
}

async function writeEntry(entry: {
  readonly layer: string;
  readonly root: string;
  readonly target: string;
  readonly header: Headers;
  readonly body: EntryBody;
}): Promise<void> {
  const { layer, root, target, header, body } = entry;
  const before = await lstat(target).catch(() => undefined);
  const mode = (header.mode ?? 0o644) & 0o777;
  if (header.type === 'directory') {
    if (before !== undefined && !before.isDirectory()) await unlink(target);
    await mkdir(target, { recursive: true });
    // Whoever unpacked it has to be able to remove it again.
    await chmod(target, mode | 0o700);
    return;
  }
  if (before !== undefined) await rm(target, { recursive: true, force: true });
  if (header.type === 'symlink') await symlink(header.linkname ?? '', target);
  else if (header.type === 'link') await link(await safePath(layer, root, header.linkname ?? ''), target);
  // "flush" makes the bytes durable before the image is taken for whole.
  else if (header.type === 'file') {
    await pipeline(body.content, createWriteStream(target, { mode, flush: true }), { signal: body.signal });
  }
}

/** Gives where an entry goes: links on the way are followed as if the folder were the root file system. */
async function safePath(layer: string, root: string, name: string): Promise<string> {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..') || name.includes('\0')) throw outside(layer, `"${name}" would be outside of the image`);
  const parent = await resolveInRoot(root, parts.slice(0, -1).join('/'));
  return join(parent, parts.at(-1) ?? '');
}

function outside(layer: string, why: string): FerryError {
  return new FerryError('IMAGE_INVALID', `Cannot unpack the layer "${layer}": ${why}`);
}
