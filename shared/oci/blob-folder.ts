import { randomBytes } from 'node:crypto';
import { constants, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Digest } from '../digest.ts';
import { syncFolder } from '../durable-file.ts';
import { FerryError, isFerryError, systemCodeOf } from '../errors.ts';
import { HashedFile } from '../hashed-file.ts';
import type { PartReader } from '../write-windows.ts';
import { writeFailure } from './disk-full.ts';
import { isLeftover, PartialBlobs } from './partial-blobs.ts';
import { processMark } from './process-mark.ts';
import { checkExpected, type Expected } from './verified.ts';

/** Bytes to store: at once, or piece by piece, some of which are still to be read. */
export type BlobSource = Uint8Array | AsyncIterable<Uint8Array | PartReader>;

/** The settings of {@link BlobFolder.put}. */
export interface PutBlobOptions {
  /** What the bytes must be; where such a blob is already there, the source is not read at all. */
  readonly expected?: Expected;
  /** Whether it is best kept in memory too. @default true */
  readonly isReadSoon?: boolean;
  /** Is given the bytes too, as {@link HashedFile.append} gives them. */
  readonly alsoTo?: (bytes: Uint8Array) => Promise<void>;
  /** Called when all is written; where it fails, nothing is kept. */
  readonly beforeKept?: () => Promise<void>;
  readonly signal?: AbortSignal;
}

/** A piece of a blob. */
export interface BlobRange {
  /** First byte. @default 0 */
  readonly start?: number;
  /** The byte after the last one. @default the blob's size */
  readonly end?: number;
}

/** How much is read at once, in bytes. */
const readBytes = 1024 * 1024;

/**
 * The blobs of an image layout: `blobs/sha256/<64 digits>`.
 *
 * Invariants:
 * - a file under a digest's name has that digest, wholly and durably: it is written aside, checked, synced, then renamed;
 * - a file aside belongs to the process that its name tells; when that is gone, {@link BlobFolder.sweep} removes it,
 *   or another goes on with it where it is a part of a blob that broke off.
 */
export class BlobFolder {
  /** `blobs/sha256` of the layout. */
  readonly folder: string;
  readonly #aside: string;
  readonly #partial: PartialBlobs;

  constructor(layoutFolder: string) {
    this.folder = join(layoutFolder, 'blobs', 'sha256');
    this.#aside = join(layoutFolder, '.ingest');
    this.#partial = new PartialBlobs(this.#aside, randomBytes(6).toString('hex'));
  }

  async create(): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    await mkdir(this.#aside, { recursive: true });
  }

  /** Removes what processes left that died while writing, but for parts of blobs that may still be gone on with. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.#aside)) {
      if (await isLeftover(this.#aside, name, Date.now())) await rm(join(this.#aside, name), { force: true });
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
    return file.createReadStream({ start, highWaterMark: readBytes, ...(end === undefined ? {} : { end: end - 1 }) });
  }

  /**
   * Stores a blob; a blob that is there already is kept and only its time renewed.
   * @throws {FerryError} DIGEST_MISMATCH when it is not what was expected
   * @throws {FerryError} DISK_FULL when there is no room; nothing is left behind then
   */
  async put(source: BlobSource, options: PutBlobOptions = {}): Promise<{ digest: Digest; size: number }> {
    const { expected, beforeKept, ...writing } = options;
    if (expected !== undefined && (await this.renew(expected))) {
      if (!(source instanceof Uint8Array)) await source[Symbol.asyncIterator]().return?.();
      return { digest: expected.digest, size: expected.size };
    }
    const aside = join(this.#aside, `${processMark()}.${randomBytes(6).toString('hex')}`);
    try {
      const written = await this.#writeAside(aside, source instanceof Uint8Array ? [source] : source, writing);
      if (expected !== undefined) checkExpected(written, expected, 'what was to be stored');
      await beforeKept?.();
      await rename(aside, this.pathOf(written.digest));
      await syncFolder(this.folder);
      return { digest: written.digest, size: written.bytes };
    } catch (error) {
      await rm(aside, { force: true });
      throw writeFailure(error, `store a blob in "${this.folder}"`);
    }
  }

  /**
   * Stores a blob that may break off on its way: what has come is kept, and gone on with by the next who wants the same blob, in
   * this process or, when this one is gone, in another.
   * @param source gives the bytes from a place on
   * @throws {FerryError} DIGEST_MISMATCH when it is not what was expected; nothing of it is kept
   * @throws {FerryError} DISK_FULL when there is no room; nothing is left behind then
   */
  async putResumably(
    source: (start: number) => AsyncIterable<Uint8Array>,
    expected: Expected,
    signal?: AbortSignal,
  ): Promise<void> {
    if (await this.renew(expected)) return;
    using part = await this.#partial.claim(expected.digest);
    if (part === undefined) {
      await this.put(source(0), { expected, ...(signal === undefined ? {} : { signal }) });
      return;
    }
    for (;;) {
      const hadBytes = await this.#bytesOf(part.path);
      try {
        return await this.#complete(part.path, source, expected, signal);
      } catch (error) {
        const failure = writeFailure(error, `store a blob in "${this.folder}"`);
        const isWrong = isFerryError(failure, 'DIGEST_MISMATCH');
        const isOfNoUse = isWrong || isFerryError(failure, 'DISK_FULL') || (await this.#bytesOf(part.path)) === 0;
        if (isOfNoUse) await rm(part.path, { force: true });
        // What an earlier try had left may be what is wrong, after a power cut: then it comes wholly once more.
        if (!isWrong || hadBytes === 0) throw failure;
      }
    }
  }

  async #bytesOf(path: string): Promise<number> {
    return (await stat(path).catch(absent))?.size ?? 0;
  }

  /** Says whether the blob is there, and makes it young so that no clean-up takes it before it is referred to. */
  async renew(expected: Expected): Promise<boolean> {
    await using file = await open(this.pathOf(expected.digest), 'r').catch(absent);
    if (file === undefined || (await file.stat()).size !== expected.size) return false;
    const now = new Date();
    await file.utimes(now, now);
    return true;
  }

  async #writeAside(
    aside: string,
    source: AsyncIterable<Uint8Array | PartReader> | Iterable<Uint8Array>,
    { isReadSoon, ...options }: Omit<PutBlobOptions, 'beforeKept' | 'expected'>,
  ): Promise<{ digest: Digest; bytes: number }> {
    await using file = await open(aside, 'wx', 0o644);
    const hashed = new HashedFile(file, { isReadSoon });
    await hashed.append(source, options);
    return await hashed.finish();
  }

  /** Adds what is missing to a part, after hashing what it has, and makes it the blob. */
  async #complete(
    path: string,
    source: (start: number) => AsyncIterable<Uint8Array>,
    expected: Expected,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    {
      await using file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o644);
      const hashed = new HashedFile(file);
      await hashed.readBack();
      if (hashed.bytes < expected.size) await hashed.append(source(hashed.bytes), { signal });
      checkExpected(await hashed.finish(), expected, 'what was to be stored');
    }
    await rename(path, this.pathOf(expected.digest));
    await syncFolder(this.folder);
  }
}

function absent(error: unknown): undefined {
  if (systemCodeOf(error) === 'ENOENT') return undefined;
  throw error;
}
