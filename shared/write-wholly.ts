import type { FileHandle } from 'node:fs/promises';

/** Writes all bytes at a place in a file: a write that takes only a part, as that to a disk which fills up may, is gone on with. */
export async function writeWholly(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.byteLength - done, position + done);
    done += bytesWritten;
  }
}
