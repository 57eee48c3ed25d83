import type { FileHandle } from 'node:fs/promises';
import type { Digester } from '../digest.ts';

/** Small pieces are gathered to writes of about so many bytes: a layer of many small files would else be all system calls. */
const writeBytes = 1024 * 1024;

/** How many buffers one write takes: IOV_MAX of Linux and macOS. */
const buffersMax = 1024;

/**
 * Writes what comes to the end of a file and hashes it on the way: the hashing of one piece goes on while the one before it is
 * written. The source must not use a piece again. After a failure the file holds a first part of what came.
 */
export async function writeHashed(
  file: FileHandle,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  digester: Digester,
  signal?: AbortSignal,
): Promise<void> {
  let gathered: Uint8Array[] = [];
  let gatheredBytes = 0;
  let writing: Promise<void> = Promise.resolve();
  const flush = async (): Promise<void> => {
    await writing;
    writing = writeAll(file, gathered);
    // Awaited at the next flush; a failure is not lost by it.
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
  } finally {
    await flush();
    await writing;
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
