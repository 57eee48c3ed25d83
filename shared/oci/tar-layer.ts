import { type FileHandle, open } from 'node:fs/promises';
import { posix } from 'node:path';
import { type Headers, type Pack, pack } from 'tar-stream';
import { FerryError } from '../errors.ts';
import { Rooms } from '../rooms.ts';

/** Where the bytes of a file in a layer come from: memory, or a file that is read when its turn comes. */
export type FileContent = Uint8Array | { readonly file: string; readonly size: number };

/** One thing in a layer. Owner and group are 0 and the time is 0 for all. */
export type LayerEntry =
  | { readonly kind: 'file'; readonly path: string; readonly mode?: number; readonly content: FileContent }
  | { readonly kind: 'directory'; readonly path: string; readonly mode?: number }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string };

/** How much of a file is read at once, in bytes: each read has another thread woken up, which in a virtual machine takes 35 us. */
const readBytes = 1024 * 1024;

const modes = { file: 0o644, directory: 0o755, symlink: 0o777 } as const;

/** The settings of {@link tarLayer}. */
export interface TarLayerOptions {
  /** Whether the memory of a piece is used again as soon as the next one is asked for: for who keeps none. @default false */
  readonly reusesMemory?: boolean;
}

/**
 * Writes a layer as an uncompressed tar whose bytes follow from the entries alone: sorted by path, time 0, owner root, folders
 * that are only implied added (0755). Order of the entries does not matter. Streams: holds one piece of one file at a time.
 * Long and non-ASCII names become pax records, sizes over 8 GiB base-256 numbers.
 * @param entries paths with or without a leading `/`
 * @throws {FerryError} IMAGE_INVALID when a path is empty, has `.` or `..`, appears twice, or lies under a file
 * @throws {FerryError} FILE_UNREADABLE when a file cannot be read or has not the size that was given
 */
export async function* tarLayer(
  entries: Iterable<LayerEntry>,
  { reusesMemory = false }: TarLayerOptions = {},
): AsyncGenerator<Uint8Array, void, void> {
  const ordered = orderEntries(entries);
  const rooms = new Rooms(readBytes);
  const tar = pack();
  const writing = writeEntries(tar, ordered, rooms).catch((error: unknown) => void tar.destroy(error as Error));
  try {
    for await (const piece of tar) {
      yield piece;
      if (reusesMemory) rooms.giveBack(piece);
    }
  } finally {
    tar.destroy();
    await writing;
  }
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

async function writeEntries(tar: Pack, entries: readonly LayerEntry[], rooms: Rooms): Promise<void> {
  for (const entry of entries) {
    if (entry.kind !== 'file') await writeHeaderOnly(tar, entry);
    else if (entry.content instanceof Uint8Array) await writeBytes(tar, fileHeader(entry), entry.content);
    else await writeFile(tar, fileHeader(entry), { ...entry.content, rooms });
  }
  tar.finalize();
}

const ownerAndTime = { mtime: new Date(0), uid: 0, gid: 0, uname: '', gname: '' };

function fileHeader({ path, mode, content }: LayerEntry & { kind: 'file' }): Headers {
  const size = content instanceof Uint8Array ? content.byteLength : content.size;
  return { ...ownerAndTime, type: 'file', name: path, mode: mode ?? modes.file, size };
}

function writeHeaderOnly(tar: Pack, entry: LayerEntry & { kind: 'directory' | 'symlink' }): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const header: Headers =
    entry.kind === 'directory'
      ? { ...ownerAndTime, type: 'directory', name: `${entry.path}/`, mode: entry.mode ?? modes.directory }
      : { ...ownerAndTime, type: 'symlink', name: entry.path, linkname: entry.target, mode: modes.symlink };
  tar.entry(header, (error) => (error ? reject(error) : resolve()));
  return promise;
}

function writeBytes(tar: Pack, header: Headers, content: Uint8Array): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  tar.entry(header, bytes, (error) => (error ? reject(error) : resolve()));
  return promise;
}

/** A file that is read into rooms. */
interface ReadContent {
  readonly file: string;
  readonly size: number;
  readonly rooms: Rooms;
}

async function writeFile(tar: Pack, header: Headers, content: ReadContent): Promise<void> {
  await using source = await open(content.file, 'r').catch((cause: unknown) => {
    throw new FerryError('FILE_UNREADABLE', `Cannot read "${content.file}"`, { cause });
  });
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  const sink = tar.entry(header, (error) => (error ? reject(error) : resolve()));
  // A failure comes to the callback and as an event; it is taken from the one, and must not crash by the other.
  sink.on('error', () => undefined);
  ended.catch(() => undefined);
  let position = 0;
  // One piece is read while the one before it is hashed and written.
  let reading = readPiece(source, content, position);
  for (;;) {
    const piece = await reading;
    if (piece.byteLength === 0) break;
    position += piece.byteLength;
    reading = readPiece(source, content, position);
    reading.catch(() => undefined);
    if (!sink.write(piece)) await drained(sink, ended);
  }
  const { size } = await source.stat();
  if (position !== content.size || size !== content.size) {
    throw new FerryError(
      'FILE_UNREADABLE',
      `Cannot pack "${content.file}": it has ${size} bytes, ${content.size} were wanted`,
    );
  }
  sink.end();
  await ended;
}

/** Reads what comes next of a file; nothing at its end. */
async function readPiece(source: FileHandle, { size, rooms }: ReadContent, position: number): Promise<Uint8Array> {
  const length = Math.min(readBytes, size - position);
  if (length === 0) return new Uint8Array();
  const { bytesRead, buffer } = await source.read(rooms.take(), 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** Waits until the sink takes more, or the packing has ended with an error. */
async function drained(sink: NodeJS.WritableStream, ended: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  sink.once('drain', resolve);
  await Promise.race([promise, ended]);
  sink.removeListener('drain', resolve);
}

function invalid(path: string, why: string): FerryError {
  return new FerryError('IMAGE_INVALID', `Cannot put "${path}" into a layer: ${why}`);
}
