import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { systemCodeOf } from './errors.ts';

/** What places and lengths of direct writes are a multiple of: a page, and the largest block of the disks that there are. */
export const blockBytes = 4096;
/** How much is written at once; larger ones gained nothing. */
const stageBytes = 1024 * 1024;
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
  readonly #file: FileHandle;
  readonly #stage: Uint8Array;

  private constructor(file: FileHandle, stage: Uint8Array) {
    this.#file = file;
    this.#stage = stage;
  }

  /** Opens a file once more, to be written to in this way; gives none where the system or the file system has no such thing. */
  static async open({ fd }: FileHandle): Promise<DirectWrite | undefined> {
    const stage = process.platform === 'linux' ? pageAligned(stageBytes) : undefined;
    if (stage === undefined) return undefined;
    try {
      return new DirectWrite(await open(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_DIRECT), stage);
    } catch (error) {
      if (['EINVAL', 'ENOENT', 'EACCES'].includes(systemCodeOf(error) ?? '')) return undefined;
      throw error;
    }
  }

  /**
   * Writes pieces one behind the other, wholly; one such call at a time.
   * @param position a multiple of {@link blockBytes}, as their length together is
   */
  async write(pieces: readonly Uint8Array[], position: number): Promise<void> {
    let at = position;
    let filled = 0;
    for (const piece of pieces) {
      for (let from = 0; from < piece.byteLength;) {
        const part = piece.subarray(from, from + stageBytes - filled);
        this.#stage.set(part, filled);
        from += part.byteLength;
        filled += part.byteLength;
        if (filled < stageBytes) continue;
        await this.#writeStage(filled, at);
        at += filled;
        filled = 0;
      }
    }
    if (filled > 0) await this.#writeStage(filled, at);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async #writeStage(bytes: number, position: number): Promise<void> {
    for (let done = 0; done < bytes;) {
      const { bytesWritten } = await this.#file.write(this.#stage, done, bytes - done, position + done);
      // A disk that fills up may take a part, after which the next write says what is wrong.
      done += bytesWritten;
    }
  }
}

/** Gives memory that begins at a page, as WebAssembly's does and Node's buffers do not; none where its address space is limited (`ulimit -v`). */
function pageAligned(bytes: number): Uint8Array | undefined {
  try {
    return new Uint8Array(new WebAssembly.Memory({ initial: bytes / wasmPageBytes }).buffer);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
