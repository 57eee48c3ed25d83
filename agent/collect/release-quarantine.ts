import { openExistingBuffer } from './buffer-file.ts';
import { Sealing } from './sealing.ts';

/**
 * Takes what storage refused too often back into the queue: the next drain tries it anew.
 * @returns how many rows that are; 0 where there is no buffer
 * @throws {FerryError} BUFFER_INVALID when the file is no buffer
 */
export function releaseQuarantine(databasePath: string): number {
  const database = openExistingBuffer(databasePath);
  if (database === undefined) return 0;
  try {
    return new Sealing(database).release();
  } finally {
    database.close();
  }
}
