import { once } from 'node:events';
import { type FileHandle, open } from 'node:fs/promises';
import { posix } from 'node:path';
import { type Headers, pack } from 'tar-stream';
import { FerryError } from '../errors.ts';
import type { PartReader } from '../write-windows.ts';

/** Where the bytes of a file in a layer come from: memory, or a file that is read when its turn comes. */
export type FileContent = Uint8Array | { readonly file: string; readonly size: number };

/** One thing in a layer. Owner and group are 0 and the time is 0 for all. */
export type LayerEntry =
  | { readonly kind: 'file'; readonly path: string; readonly mode?: number; readonly content: FileContent }
  | { readonly kind: 'directory'; readonly path: string; readonly mode?: number }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string };

/** How much of a file is read at once, in bytes: each read has another thread woken up, which in a virtual machine takes 35 us. */
const readBytes = 1024 * 1024;
/** Everything in a tar begins at a multiple of it, and two such blocks of zeros end it. */
const recordBytes = 512;

const modes = { file: 0o644, directory: 0o755, symlink: 0o777 } as const;

/**
 * Writes a layer as an uncompressed tar whose bytes follow from the entries alone: sorted by path, time 0, owner root, folders
 * that are only implied added (0755). Order of the entries does not matter. Streams: holds two pieces of one file at a time.
 * Long and non-ASCII names become pax records, sizes over 8 GiB base-256 numbers.
 * @param entries paths with or without a leading `/`
 * @throws {FerryError} IMAGE_INVALID when a path is empty, has `.` or `..`, appears twice, or lies under a file
 * @throws {FerryError} FILE_UNREADABLE when a file cannot be read or has not the size that was given
 */
export async function* tarLayer(entries: Iterable<LayerEntry>): AsyncGenerator<Uint8Array, void, void> {
  for await (const part of tarLayerParts(entries)) {
    if (part instanceof Uint8Array) yield part;
    else yield* piecesOf(part);
  }
}

/** Writes the same as {@link tarLayer}, but has files read by who takes the parts, each wholly before the next part is asked for. */
export async function* tarLayerParts(
  entries: Iterable<LayerEntry>,
): AsyncGenerator<Uint8Array | PartReader, void, void> {
  for (const entry of orderEntries(entries)) {
    yield await headerOf(entry);
    if (entry.kind !== 'file') continue;
    const { content } = entry;
    const size = sizeOf(content);
    if (!(content instanceof Uint8Array)) yield* fileParts(content);
    else if (size > 0) yield content;
    if (size % recordBytes > 0) yield Buffer.alloc(recordBytes - (size % recordBytes));
  }
  yield Buffer.alloc(2 * recordBytes);
}

/** Gives the entries as they stand in the layer: clean paths, implied folders added, sorted so that a folder comes before what is in it. */
function orderEntries(entries: Iterable<LayerEntry>): readonly LayerEntry[] {
  const byPath = new Map<string, LayerEntry>();
  for (const entry of entries) {
    const path = cleanPath(entry.path);
    if (byPath.has(path)) throw invalid(path, 'it is there twice, one of each name was wanted');
    byPath.set(path, { ...entry, path });
  }
  // Folders that are added are come upon too, which changes nothing.
  for (const path of byPath.keys()) {
    for (let folder = posix.dirname(path); folder !== '.'; folder = posix.dirname(folder)) {
      const above = byPath.get(folder);
      if (above === undefined) byPath.set(folder, { kind: 'directory', path: folder });
      else if (above.kind !== 'directory') throw invalid(path, `"${folder}" is a ${above.kind}, a folder was wanted`);
    }
  }
  return [...byPath.values()].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

function cleanPath(path: string): string {
  const clean = path.replace(/^\/+/, '').replace(/\/+$/, '');
  const parts = clean.split('/');
  if (clean.includes('\0') || parts.some((part) => part === '' || part === '.' || part === '..')) {
    throw invalid(path, 'a path without empty, "." and ".." components was wanted');
  }
  return clean;
}

/** Writes what stands before an entry's content. */
async function headerOf(entry: LayerEntry): Promise<Uint8Array> {
  const tar = pack();
  // It is not given the content, and complains of that when it is destroyed.
  tar.entry(describe(entry)).on('error', () => undefined);
  await once(tar, 'readable');
  const pieces: Uint8Array[] = [];
  for (let piece = tar.read() as Uint8Array | null; piece !== null; piece = tar.read() as Uint8Array | null) {
    pieces.push(piece);
  }
  tar.on('error', () => undefined).destroy();
  return Buffer.concat(pieces);
}

function describe(entry: LayerEntry): Headers {
  const { kind, path } = entry;
  const common = { mtime: new Date(0), uid: 0, gid: 0, uname: '', gname: '', type: kind };
  if (entry.kind === 'symlink') return { ...common, name: path, linkname: entry.target, mode: modes.symlink };
  const mode = entry.mode ?? modes[entry.kind];
  if (entry.kind === 'directory') return { ...common, name: `${path}/`, mode };
  return { ...common, name: path, mode, size: sizeOf(entry.content) };
}

function sizeOf(content: FileContent): number {
  return content instanceof Uint8Array ? content.byteLength : content.size;
}

async function* fileParts({ file, size }: { file: string; size: number }): AsyncGenerator<PartReader, void, void> {
  await using source = await open(file, 'r').catch((cause: unknown) => {
    throw new FerryError('FILE_UNREADABLE', `Cannot read "${file}"`, { cause });
  });
  const reader = new FileReader(source, size);
  yield reader;
  const found = await source.stat();
  if (reader.position === size && found.size === size) return;
  throw new FerryError('FILE_UNREADABLE', `Cannot pack "${file}": it has ${found.size} bytes, ${size} were wanted`);
}

/** Reads a file from its start, up to a size. */
class FileReader implements PartReader {
  readonly #file: FileHandle;
  readonly #size: number;
  #position = 0;

  constructor(file: FileHandle, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /** Up to where it was read. */
  get position(): number {
    return this.#position;
  }

  async read(target: Uint8Array): Promise<number> {
    const length = Math.min(target.byteLength, this.#size - this.#position);
    if (length === 0) return 0;
    const { bytesRead } = await this.#file.read(target, 0, length, this.#position);
    this.#position += bytesRead;
    return bytesRead;
  }
}

/** Gives a part in pieces: one is read while the one before is used. */
async function* piecesOf(part: PartReader): AsyncGenerator<Uint8Array, void, void> {
  const readOne = async (): Promise<Uint8Array> => {
    const room = Buffer.allocUnsafe(readBytes);
    return room.subarray(0, await part.read(room));
  };
  for (let reading = readOne(); ;) {
    const piece = await reading;
    if (piece.byteLength === 0) return;
    reading = readOne();
    reading.catch(() => undefined);
    yield piece;
  }
}

function invalid(path: string, why: string): FerryError {
  return new FerryError('IMAGE_INVALID', `Cannot put "${path}" into a layer: ${why}`);
}
