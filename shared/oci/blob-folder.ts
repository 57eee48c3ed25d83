import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { type Digest, Digester } from '../digest.ts';
import { syncFolder } from '../durable-file.ts';
import { FerryError, systemCodeOf } from '../errors.ts';
import { writeFailure } from './disk-full.ts';
import { isProcessAlive, processMark } from './process-mark.ts';
import { checkExpected, type Expected } from './verified.ts';

/** Bytes to store: at once, or piece by piece. */
export type BlobSource = Uint8Array | AsyncIterable<Uint8Array>;

/** The settings of {@link BlobFolder.put}. */
export interface PutBlobOptions {
  /** What the bytes must be; where such a blob is already there, the source is not read at all. */
  readonly expected?: Expected;
  readonly signal?: AbortSignal;
}

/** A piece of a blob. */
export interface BlobRange {
  /** First byte. @default 0 */
  readonly start?: number;
  /** The byte after the last one. @default the blob's size */
  readonly end?: number;
}

/** Small pieces are gathered to writes of about so many bytes: a layer of many small files would else be all system calls. */
const writeBytes = 1024 * 1024;

/**
 * The blobs of an image layout: `blobs/sha256/<64 digits>`.
 *
 * Invariants:
 * - a file under a digest's name has that digest, wholly and durably: it is written aside, checked, synced, then renamed;
 * - a file aside belongs to the process that its name tells; when that is gone, {@link BlobFolder.sweep} removes it.
 */
export class BlobFolder {
  /** `blobs/sha256` of the layout. */
  readonly folder: string;
  readonly #aside: string;
  #count = 0;

  constructor(layoutFolder: string) {
    this.folder = join(layoutFolder, 'blobs', 'sha256');
    this.#aside = join(layoutFolder, '.ingest');
  }

  async create(): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    await mkdir(this.#aside, { recursive: true });
  }

  /** Removes what processes left that died while writing. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.#aside)) {
      if (!isProcessAlive(name.split('.')[0] ?? '')) await rm(join(this.#aside, name), { force: true });
    }
  }

  pathOf(digest: Digest): string {
    return join(this.folder, digest.slice('sha256:'.length));
  }

  /** Gives a blob's size in bytes, or undefined where it is not there. */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    const status = await stat(this.pathOf(digest)).catch(absent);
    return status?.size;
  }

  /** @throws {FerryError} IMAGE_NOT_FOUND when it is not there */
  async open(digest: Digest, range: BlobRange = {}): Promise<Readable> {
    const { start = 0, end } = range;
    const file = await open(this.pathOf(digest), 'r').catch(absent);
    if (file === undefined) {
      throw new FerryError('IMAGE_NOT_FOUND', `Cannot read "${digest}": there is no such blob in "${this.folder}"`);
    }
    return file.createReadStream({ start, highWaterMark: writeBytes, ...(end === undefined ? {} : { end: end - 1 }) });
  }

  /**
   * Stores a blob; a blob that is there already is kept and only its time renewed.
   * @throws {FerryError} DIGEST_MISMATCH when it is not what was expected
   * @throws {FerryError} DISK_FULL when there is no room; nothing is left behind then
   */
  async put(source: BlobSource, options: PutBlobOptions = {}): Promise<{ digest: Digest; size: number }> {
    const { expected, signal } = options;
    if (expected !== undefined && (await this.#renew(expected))) {
      if (!(source instanceof Uint8Array)) await source[Symbol.asyncIterator]().return?.();
      return { digest: expected.digest, size: expected.size };
    }
    const aside = join(this.#aside, `${processMark()}.${(this.#count += 1)}`);
    try {
      const written = await this.#writeAside(aside, source instanceof Uint8Array ? [source] : source, signal);
      if (expected !== undefined) checkExpected(written, expected, 'what was to be stored');
      await rename(aside, this.pathOf(written.digest));
      await syncFolder(this.folder);
      return { digest: written.digest, size: written.bytes };
    } catch (error) {
      await rm(aside, { force: true });
      throw writeFailure(error, `store a blob in "${this.folder}"`);
    }
  }

  /** Says whether the blob is there, and makes it young so that no clean-up takes it before it is referred to. */
  async #renew(expected: Expected): Promise<boolean> {
    await using file = await open(this.pathOf(expected.digest), 'r').catch(absent);
    if (file === undefined || (await file.stat()).size !== expected.size) return false;
    const now = new Date();
    await file.utimes(now, now);
    return true;
  }

  async #writeAside(
    aside: string,
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<{ digest: Digest; bytes: number }> {
    const digester = new Digester();
    await using file = await open(aside, 'wx', 0o644);
    let gathered: Uint8Array[] = [];
    let gatheredBytes = 0;
    let writing: Promise<void> = Promise.resolve();
    const flush = async (): Promise<void> => {
      await writing;
      writing = writeAll(file, gathered);
      // Awaited at the next flush, so that hashing and reading go on meanwhile; a failure is not lost by it.
      writing.catch(() => undefined);
      gathered = [];
      gatheredBytes = 0;
    };
    try {
      for await (const piece of source) {
        signal?.throwIfAborted();
        gathered.push(piece);
        gatheredBytes += piece.byteLength;
        const due = gatheredBytes >= writeBytes ? flush() : undefined;
        digester.update(piece);
        await due;
      }
      await flush();
    } finally {
      await writing;
    }
    await file.datasync();
    return digester.finish();
  }
}

/** Writes buffers wholly: a write that takes only a part is gone on with. */
async function writeAll(file: FileHandle, buffers: readonly Uint8Array[]): Promise<void> {
  let left = buffers.filter((buffer) => buffer.byteLength > 0);
  while (left.length > 0) {
    let { bytesWritten } = await file.writev(left.slice(0, buffersMax));
    left = left.flatMap((buffer) => {
      const taken = Math.min(bytesWritten, buffer.byteLength);
      bytesWritten -= taken;
      return taken === buffer.byteLength ? [] : [buffer.subarray(taken)];
    });
  }
}

/** How many buffers one write takes: IOV_MAX of Linux and macOS. */
const buffersMax = 1024;

function absent(error: unknown): undefined {
  if (systemCodeOf(error) === 'ENOENT') return undefined;
  throw error;
}
