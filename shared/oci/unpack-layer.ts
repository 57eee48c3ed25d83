import { type FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import type { Duplex } from 'node:stream';
import { type Entry, extract } from 'tar-stream';
import { FerryError, systemCodeOf } from '../errors.ts';
import { writeFailure } from './disk-full.ts';
import type { LayerPlacesNotes } from './layer-places.ts';
import { decompressor } from './layer-compression.ts';
import { LayerRoot } from './layer-root.ts';

/** The settings of {@link unpackLayer}. */
export interface UnpackLayerOptions {
  /** Says how it is compressed. */
  readonly mediaType: string;
  /** The most bytes that its files may have, against a small layer that unpacks to a full disk. @default 64 GiB */
  readonly bytesMax?: number;
  /** Syncs every file to the disk. @default true */
  readonly sync?: boolean;
  /** Is told what the layer puts where, and what it removes. */
  readonly notes?: LayerPlacesNotes | undefined;
  readonly signal?: AbortSignal;
}

const defaultBytesMax = 64 * 1024 ** 3;
const tarBlockBytes = 512;
/** The most entries of a layer; the largest images have some hundred thousand. */
const entriesMax = 2_000_000;
/** Bytes that may come before they belong to an entry: names of any length are gathered in memory before their entry is known. */
const headerBytesMax = 64 * 1024 * 1024;
/** Files whose last bytes are on their way to the disk at once. */
const syncsMax = 16;

/** OCI image-spec 1.1, layer.md, "Whiteouts". */
const whiteoutPrefix = '.wh.';
const opaqueWhiteout = '.wh..wh..opq';

/**
 * Unpacks a layer on top of what is in a folder: entries replace what is there, whiteouts remove it. Owners are not set and
 * set-user-id bits are left out, since it is unpacked by and for who runs this. Absolute links become relative to the folder.
 * After a failure the folder holds a part of the layer.
 * @throws {FerryError} IMAGE_INVALID when the layer is no tar of its media type, or has an entry with `..`, an absolute path or a
 * name that was there before, a link that leads out, or a device
 * @throws {FerryError} DISK_FULL when there is no room
 * @see OCI image-spec 1.1, layer.md
 */
export async function unpackLayer(
  source: AsyncIterable<Uint8Array>,
  folder: string,
  options: UnpackLayerOptions,
): Promise<void> {
  const tar = extract();
  const unpacker = new LayerUnpacker(folder, options);
  const given = new GivenSource(source);
  const feeding = feed(given, decompressor(options.mediaType), { tar, unpacker }).catch((error: unknown) => {
    tar.destroy(error as Error);
    throw error;
  });
  feeding.catch(() => undefined);
  try {
    for await (const entry of tar) {
      options.signal?.throwIfAborted();
      await unpacker.unpack(entry);
    }
    await feeding;
  } catch (error) {
    tar.destroy();
    await feeding.catch(() => undefined);
    throw given.failure ?? failureOf(error, options);
  } finally {
    await unpacker.settled();
  }
  unpacker.check();
}

/** A source that remembers its own failure, which streams turn into others on their way. */
class GivenSource {
  readonly #source: AsyncIterable<Uint8Array>;
  failure: unknown;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const piece of this.#source) yield piece;
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }
}

/** One layer on its way into a folder. */
class LayerUnpacker {
  readonly #root: LayerRoot;
  readonly #bytesMax: number;
  readonly #sync: boolean;
  readonly #notes: LayerPlacesNotes | undefined;
  /** Where this layer has put something, with the folders above it; its whiteouts are for the layers below alone. */
  readonly #own = new Set<string>();
  readonly #named = new Set<string>();
  readonly #syncing = new Set<Promise<void>>();
  #syncFailure: unknown;
  #bytes = 0;
  #accountedBytes = 0;

  constructor(folder: string, options: UnpackLayerOptions) {
    this.#root = new LayerRoot(folder);
    this.#bytesMax = options.bytesMax ?? defaultBytesMax;
    this.#sync = options.sync ?? true;
    this.#notes = options.notes;
  }

  /** How many bytes of the tar the entries so far account for, at least. */
  get accountedBytes(): number {
    return this.#accountedBytes;
  }

  async unpack(entry: Entry): Promise<void> {
    this.#accountedBytes += tarBlockBytes + (entry.header.size ?? 0);
    const path = cleanPath(entry.header.name);
    if (this.#named.has(path)) throw invalid(path, 'it is in the layer twice');
    if (this.#named.size >= entriesMax) throw invalid(path, `the layer has over ${entriesMax} entries`);
    this.#named.add(path);
    if (path === '') return drain(entry);
    const place = await this.#root.place(path);
    const name = posix.basename(path);
    if (name.startsWith(whiteoutPrefix)) {
      await this.#whiteOut(place, name);
      return drain(entry);
    }
    await this.#create(place, entry);
    this.#notes?.placed(place, `${entry.header.type} ${entry.header.mode}`);
    for (let own = place; own !== '.'; own = posix.dirname(own)) this.#own.add(own);
    return drain(entry);
  }

  /** Waits for what is on its way to the disk. */
  async settled(): Promise<void> {
    await Promise.all(this.#syncing);
  }

  /** @throws what went wrong on the way to the disk */
  check(): void {
    if (this.#syncFailure !== undefined) throw writeFailure(this.#syncFailure, 'unpack a layer');
  }

  async #create(place: string, entry: Entry): Promise<void> {
    const { type, mode = 0o644, linkname, size = 0 } = entry.header;
    if (type === 'file' || type === 'contiguous-file') return this.#createFile(place, entry, { mode, size });
    if (type === 'directory') return this.#root.createFolder(place, mode);
    if (type === 'symlink') return this.#root.createSymlink(place, linkname ?? '');
    if (type === 'link') return this.#root.createHardLink(place, cleanPath(linkname ?? ''));
    throw invalid(place, `it is a ${type ?? 'thing of an unknown kind'}, files, folders and links were wanted`);
  }

  async #createFile(place: string, entry: Entry, { mode, size }: { mode: number; size: number }): Promise<void> {
    this.#bytes += size;
    if (this.#bytes > this.#bytesMax) throw invalid(place, `the layer unpacks to over ${this.#bytesMax} bytes`);
    const file = await this.#root.createFile(place, mode);
    try {
      for await (const piece of entry) {
        for (let written = 0; written < piece.byteLength;) {
          written += (await file.write(piece, written)).bytesWritten;
        }
      }
    } catch (error) {
      await file.close();
      throw error;
    }
    while (this.#syncing.size >= syncsMax) await Promise.race(this.#syncing);
    this.#syncAside(file);
  }

  /** Goes on with the next entry while a file is synced. */
  #syncAside(file: FileHandle): void {
    const syncing = this.#syncAndClose(file)
      .catch((error: unknown) => {
        this.#syncFailure ??= error;
      })
      .finally(() => this.#syncing.delete(syncing));
    this.#syncing.add(syncing);
  }

  async #syncAndClose(file: FileHandle): Promise<void> {
    await using closing = file;
    if (this.#sync) await closing.datasync();
  }

  async #whiteOut(place: string, name: string): Promise<void> {
    const folder = posix.dirname(place);
    if (name === opaqueWhiteout) {
      for (const below of await this.#root.list(folder)) await this.#removeBelow(posix.join(folder, below));
    } else if (!name.startsWith(`${whiteoutPrefix}${whiteoutPrefix}`)) {
      const hidden = name.slice(whiteoutPrefix.length);
      if (hidden === '' || hidden === '.' || hidden === '..') throw invalid(place, 'it hides no name');
      await this.#removeBelow(posix.join(folder, hidden));
    }
  }

  /** Removes what the layers below have put somewhere, and nothing of this one. */
  async #removeBelow(place: string): Promise<void> {
    if (!this.#own.has(place)) {
      this.#notes?.removed(place);
      return this.#root.remove(place);
    }
    for (const below of await this.#root.list(place)) await this.#removeBelow(posix.join(place, below));
  }
}

/** What takes a layer's bytes, or those that it is compressed to. */
type Sink = NodeJS.WritableStream & { readonly destroyed: boolean };

/** Moves the bytes of a layer through its decompressor into the reader of tar. */
async function feed(
  source: AsyncIterable<Uint8Array>,
  through: Duplex | undefined,
  { tar, unpacker }: { readonly tar: Sink; readonly unpacker: LayerUnpacker },
): Promise<void> {
  if (through === undefined) return write(watch(source, unpacker), tar);
  const filling = write(source, through).catch((error: unknown) => void through.destroy(error as Error));
  await write(watch(through as AsyncIterable<Uint8Array>, unpacker), tar);
  await filling;
}

/** Passes a tar's bytes on, unless far more of them come than its entries account for. */
async function* watch(
  source: AsyncIterable<Uint8Array>,
  unpacker: LayerUnpacker,
): AsyncGenerator<Uint8Array, void, void> {
  let bytes = 0;
  for await (const piece of source) {
    bytes += piece.byteLength;
    if (bytes > unpacker.accountedBytes + headerBytesMax) {
      throw new FerryError('IMAGE_INVALID', `Cannot unpack a layer: it has a name of over ${headerBytesMax} bytes`);
    }
    yield piece;
  }
}

async function write(source: AsyncIterable<Uint8Array>, sink: Sink): Promise<void> {
  const { promise: gone, reject } = Promise.withResolvers<never>();
  gone.catch(() => undefined);
  sink.once('error', reject);
  sink.once('close', () => reject(new Error('The reader has gone')));
  for await (const piece of source) {
    if (sink.destroyed) return gone;
    if (sink.write(piece)) continue;
    const { promise: drained, resolve } = Promise.withResolvers<void>();
    sink.once('drain', resolve);
    await Promise.race([drained, gone]);
  }
  sink.end();
}

/** Lets go of what an entry still has, so that the next one comes. */
function drain(entry: Entry): void {
  entry.resume();
}

/** Gives an entry's path without `./` and a trailing `/`; the root itself is empty. */
function cleanPath(name: string): string {
  if (name.startsWith('/')) throw invalid(name, 'its path is absolute, one within the image was wanted');
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw invalid(name, 'its path has "..", one within the image was wanted');
  if (name.includes('\0')) throw invalid(name, 'its path has a zero byte');
  return parts.join('/');
}

function failureOf(error: unknown, { mediaType, signal }: UnpackLayerOptions): unknown {
  if (error instanceof FerryError || signal?.aborted === true) return error;
  const code = systemCodeOf(error);
  const isOfTheDisk = code !== undefined && !code.startsWith('ERR_');
  if (isOfTheDisk) return writeFailure(error, 'unpack a layer');
  return new FerryError('IMAGE_INVALID', `Cannot unpack a layer: it is not what "${mediaType}" says`, { cause: error });
}

function invalid(path: string, why: string): FerryError {
  return new FerryError('IMAGE_INVALID', `Cannot unpack "${path}": ${why}`);
}
