import type { FileHandle } from 'node:fs/promises';
import { type Digest, Digester } from './digest.ts';
import { blockBytes, DirectWrite } from './direct-write.ts';
import { systemCodeOf } from './errors.ts';

/** Pieces are gathered to writes of about so many bytes: a layer of small files, or a body off the network, would else be all system calls. */
const writeBytes = 1024 * 1024;
/** How many buffers one write takes: IOV_MAX of Linux and macOS. */
const buffersMax = 1024;
/** After so many bytes the disk is set to work on them, so that little is left to wait for at the end. */
const syncBytes = 16 * 1024 * 1024;
/** From here on a file that is not read soon is written past the page cache. */
const directFrom = 16 * 1024 * 1024;
/** How much is read back at once. */
const readBytes = 1024 * 1024;

/**
 * A file that is written from its start, and hashed on the way: one piece is hashed while it is written.
 *
 * Invariants: what counts is hashed and written; a source that breaks off leaves what came before counted, so that another can go on
 * from there; after a write that failed nothing more is taken.
 */
export class HashedFile {
  readonly #file: FileHandle;
  readonly #isReadSoon: boolean;
  /** How it is written to past the page cache; null where that cannot be. */
  #direct: DirectWrite | null | undefined;
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

  /** Adds what comes. The source must not use a piece again. */
  async append(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
    try {
      await this.#appendAll(source, signal);
    } finally {
      await this.#direct?.[Symbol.asyncDispose]();
      this.#direct = undefined;
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

  async #appendAll(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
    let gathered: Uint8Array[] = [];
    let gatheredBytes = 0;
    let adding: Promise<void> = Promise.resolve();
    let isIdle = true;
    const flush = async (): Promise<void> => {
      await adding;
      isIdle = false;
      adding = this.#add(gathered).finally(() => {
        isIdle = true;
      });
      // Awaited at the next flush; a failure is not lost by it.
      adding.catch(() => undefined);
      gathered = [];
      gatheredBytes = 0;
    };
    try {
      for await (const piece of source) {
        signal?.throwIfAborted();
        gathered.push(piece);
        gatheredBytes += piece.byteLength;
        // What trickles in is written as it comes, what pours in is gathered while a write is under way.
        if (isIdle || gatheredBytes >= writeBytes) await flush();
      }
    } finally {
      // What came before a break counts too.
      await flush();
      await adding;
    }
  }

  async #add(pieces: readonly Uint8Array[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const writing = this.#writeAsFits(pieces, this.#bytes);
    writing.catch(() => undefined);
    for (const piece of pieces) {
      this.#digester.update(piece);
      this.#bytes += piece.byteLength;
    }
    try {
      await writing;
    } catch (error) {
      this.#failure = error;
      throw error;
    }
    this.#unsyncedBytes += pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (this.#unsyncedBytes >= syncBytes && this.#syncing === undefined) this.#syncAside();
  }

  /** Writes what are whole blocks of a large file past the page cache, the rest plainly. */
  async #writeAsFits(pieces: readonly Uint8Array[], position: number): Promise<void> {
    const direct = await this.#directAt(position);
    if (direct === null) return this.#write(pieces, position);
    const bytes = pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const from = -position & (blockBytes - 1);
    const end = bytes - ((position + bytes) & (blockBytes - 1));
    if (end <= from) return this.#write(pieces, position);
    await Promise.all([
      this.#writeBlocks(direct, cut(pieces, from, end), position + from),
      this.#write(cut(pieces, 0, from), position),
      this.#write(cut(pieces, end, bytes), position + end),
    ]);
  }

  async #directAt(position: number): Promise<DirectWrite | null> {
    if (this.#isReadSoon || position < directFrom) return null;
    if (this.#direct === undefined) this.#direct = (await DirectWrite.open(this.#file)) ?? null;
    return this.#direct;
  }

  /** Writes past the page cache. Some file systems say only now that they have no such thing, or that their blocks are larger. */
  async #writeBlocks(direct: DirectWrite, pieces: readonly Uint8Array[], position: number): Promise<void> {
    try {
      await direct.write(pieces, position);
    } catch (error) {
      if (systemCodeOf(error) !== 'EINVAL') throw error;
      await direct[Symbol.asyncDispose]();
      this.#direct = null;
      await this.#write(pieces, position);
    }
  }

  /** Writes wholly: a write that takes only a part is gone on with. */
  async #write(pieces: readonly Uint8Array[], from: number): Promise<void> {
    let position = from;
    let left = pieces.filter((piece) => piece.byteLength > 0);
    while (left.length > 0) {
      let { bytesWritten } = await this.#file.writev(left.slice(0, buffersMax), position);
      position += bytesWritten;
      left = left.flatMap((piece) => {
        const taken = Math.min(bytesWritten, piece.byteLength);
        bytesWritten -= taken;
        return taken === piece.byteLength ? [] : [piece.subarray(taken)];
      });
    }
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

/** Gives the bytes from one place to another. */
function cut(pieces: readonly Uint8Array[], from: number, end: number): readonly Uint8Array[] {
  let at = 0;
  return pieces.flatMap((piece) => {
    const begin = at;
    at += piece.byteLength;
    return begin < end && at > from ? [piece.subarray(Math.max(0, from - begin), end - begin)] : [];
  });
}
