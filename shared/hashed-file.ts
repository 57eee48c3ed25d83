import type { FileHandle } from 'node:fs/promises';
import { type Digest, Digester } from './digest.ts';
import { blockBytes, DirectWrite } from './direct-write.ts';
import { type PartReader, windowsBytes, WriteWindows, type WriteWindowsOptions } from './write-windows.ts';
import { writeWholly } from './write-wholly.ts';

/** After so many bytes the disk is set to work on them, so that little is left to wait for at the end. */
const syncBytes = 16 * 1024 * 1024;
/** From here on a file that is not read soon is written past the page cache. */
const directFrom = 4 * 1024 * 1024;
/** How much is read back at once. */
const readBytes = 1024 * 1024;

/** The settings of {@link HashedFile.append}. */
export interface AppendOptions {
  readonly signal?: AbortSignal | undefined;
  /** Is given all bytes too, in order; they stay as they are until it is done with them. It must not fail. */
  readonly alsoTo?: ((bytes: Uint8Array) => Promise<void>) | undefined;
}

/**
 * A file that is written from its start, and hashed on the way: one piece is hashed while it is written.
 *
 * Invariants: what counts is hashed and written; a source that breaks off leaves what came before counted, so that another can go on
 * from there; after a write that failed nothing more is taken.
 */
export class HashedFile {
  readonly #file: FileHandle;
  readonly #isReadSoon: boolean;
  readonly #digester = new Digester();
  #bytes = 0;
  #unsyncedBytes = 0;
  #syncing: Promise<void> | undefined;
  #failure: unknown;

  /**
   * @param file open for reading and writing, not for appending; it is closed by who opened it
   * @param isReadSoon whether what is written is best kept in the page cache
   */
  constructor(file: FileHandle, { isReadSoon = true }: { readonly isReadSoon?: boolean | undefined } = {}) {
    this.#file = file;
    this.#isReadSoon = isReadSoon;
  }

  /** How many bytes count. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Counts what the file has already, to be gone on with. */
  async readBack(): Promise<void> {
    const had = this.#file.createReadStream({ start: this.#bytes, highWaterMark: readBytes, autoClose: false });
    for await (const piece of had as AsyncIterable<Uint8Array>) {
      this.#digester.update(piece);
      this.#bytes += piece.byteLength;
    }
  }

  /**
   * Adds what comes. A piece may be used again by its source when the next one is asked for; what is to be read is read wholly before that.
   * @throws what the source, the signal or writing did
   */
  async append(
    source: AsyncIterable<Uint8Array | PartReader> | Iterable<Uint8Array>,
    { signal, alsoTo }: AppendOptions = {},
  ): Promise<void> {
    let windows = this.#windows({ blockBytes: 1, alsoTo });
    await using opened = new AsyncDisposableStack();
    let upTo = this.#isReadSoon ? Number.POSITIVE_INFINITY : directFrom;
    const goDirect = async (): Promise<void> => {
      upTo = Number.POSITIVE_INFINITY;
      await windows.finish();
      const direct = await DirectWrite.open(this.#file, windowsBytes);
      windows = this.#windows(direct ? { direct: opened.use(direct), blockBytes, alsoTo } : { blockBytes: 1, alsoTo });
    };
    try {
      for await (const piece of source) {
        signal?.throwIfAborted();
        if (windows.position >= upTo) await goDirect();
        if (piece instanceof Uint8Array) await windows.add(piece);
        else while (!(await windows.addFrom(piece, { upTo, signal }))) await goDirect();
      }
    } finally {
      // What came before a break counts too.
      await windows.finish();
    }
  }

  /** Makes it durable, and gives what it is. */
  async finish(): Promise<{ readonly digest: Digest; readonly bytes: number }> {
    await this.#syncing;
    await this.#file.datasync();
    // A sync reports what went wrong once only, so an early one's failure is not made good by the last one.
    if (this.#failure !== undefined) throw this.#failure;
    return this.#digester.finish();
  }

  #windows(
    of: Pick<WriteWindowsOptions, 'blockBytes'> & Pick<AppendOptions, 'alsoTo'> & { readonly direct?: DirectWrite },
  ): WriteWindows {
    const { direct, alsoTo } = of;
    return new WriteWindows({
      position: this.#bytes,
      memory: direct?.memory,
      blockBytes: of.blockBytes,
      write: async (bytes, position) => {
        if (this.#failure !== undefined) throw this.#failure;
        const written = direct?.write(bytes, position) ?? writeWholly(this.#file, bytes, position);
        const sent = alsoTo?.(bytes);
        this.#digester.update(bytes);
        this.#bytes += bytes.byteLength;
        try {
          await Promise.all([written, sent]);
        } catch (error) {
          this.#failure = error;
          throw error;
        }
        this.#unsyncedBytes += bytes.byteLength;
        if (this.#unsyncedBytes >= syncBytes && this.#syncing === undefined) this.#syncAside();
      },
    });
  }

  #syncAside(): void {
    this.#unsyncedBytes = 0;
    this.#syncing = this.#file
      .datasync()
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }
}
