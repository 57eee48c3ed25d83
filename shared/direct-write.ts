import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { systemCodeOf } from './errors.ts';
import { writeWholly } from './write-wholly.ts';

/** What places and lengths of direct writes are a multiple of: a page, and the largest block of the disks that there are. */
export const blockBytes = 4096;
const wasmPageBytes = 65_536;

/** Of JavaScript's standard library, which TypeScript describes for browsers only. */
declare const WebAssembly: {
  readonly Memory: new (pages: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
};

/**
 * Writes to a file past the page cache (`O_DIRECT`). For what is large, synced at once and not read soon: its bytes take no memory from others, and
 * none has to be found for them. In a virtual machine that gets its memory when it is first used, that is what a buffered write of a large file
 * takes most of its time for (100 MB: 140 to 290 ms of processor time, 8 ms past the cache; 27 ms where the memory was there).
 * @see open(2), "O_DIRECT"
 */
export class DirectWrite implements AsyncDisposable {
  readonly #plain: FileHandle;
  readonly #direct: FileHandle;
  /** The memory that is written from: page-aligned, as direct writes want it. */
  readonly memory: Uint8Array;
  #isRefused = false;

  private constructor(plain: FileHandle, direct: FileHandle, memory: Uint8Array) {
    this.#plain = plain;
    this.#direct = direct;
    this.memory = memory;
  }

  /**
   * Opens a file once more, to be written to in this way; gives none where the system or the file system has no such thing.
   * @param memoryBytes how much memory to write from is wanted; a multiple of 64 KiB
   */
  static async open(file: FileHandle, memoryBytes: number): Promise<DirectWrite | undefined> {
    const memory = process.platform === 'linux' ? pageAligned(memoryBytes) : undefined;
    if (memory === undefined) return undefined;
    try {
      const direct = await open(`/proc/self/fd/${file.fd}`, constants.O_WRONLY | constants.O_DIRECT);
      return new DirectWrite(file, direct, memory);
    } catch (error) {
      if (['EINVAL', 'ENOENT', 'EACCES'].includes(systemCodeOf(error) ?? '')) return undefined;
      throw error;
    }
  }

  /**
   * Writes a part of {@link memory} wholly: what are whole blocks past the page cache, the rest plainly.
   * @param position of the same place in a block as the bytes are in memory
   */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    const from = Math.min(-position & (blockBytes - 1), bytes.byteLength);
    const end = Math.max(from, bytes.byteLength - ((position + bytes.byteLength) & (blockBytes - 1)));
    await Promise.all([
      writeWholly(this.#plain, bytes.subarray(0, from), position),
      this.#writeBlocks(bytes.subarray(from, end), position + from),
      writeWholly(this.#plain, bytes.subarray(end), position + end),
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#direct.close();
  }

  async #writeBlocks(bytes: Uint8Array, position: number): Promise<void> {
    if (this.#isRefused) return writeWholly(this.#plain, bytes, position);
    try {
      await writeWholly(this.#direct, bytes, position);
    } catch (error) {
      // Some file systems say only now that they have no such thing, or that their blocks are larger.
      if (systemCodeOf(error) !== 'EINVAL') throw error;
      this.#isRefused = true;
      await writeWholly(this.#plain, bytes, position);
    }
  }
}

/** Gives memory that begins at a page, as WebAssembly's does and Node's buffers do not; none where the address space is limited (`ulimit -v`). */
function pageAligned(bytes: number): Uint8Array | undefined {
  try {
    return new Uint8Array(new WebAssembly.Memory({ initial: bytes / wasmPageBytes }).buffer);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
