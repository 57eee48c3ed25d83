import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { writeDurably } from '../shared/durable-file.ts';

/** Small files that are read and replaced whole, by their paths: on the disk, or, of a device that is simulated, in memory. */
export interface StateFiles {
  /** Gives what a file holds; throws when there is none. */
  read(path: string): Promise<string>;
  /** Replaces what a file holds, so that after a crash it is the old or the new. Nobody else may read it. */
  write(path: string, text: string): Promise<void>;
  /** Gives the names in a folder, which is made where there is none. */
  list(folder: string): Promise<readonly string[]>;
  /** Removes a file; does nothing when there is none. */
  remove(path: string): Promise<void>;
}

/** The files on the disk. What is desired may hold passwords of registries. */
export const filesOnDisk: StateFiles = {
  read: (path) => readFile(path, 'utf8'),
  write: (path, text) => writeDurably(path, text, { mode: 0o600 }),
  list: async (folder) => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return readdir(folder);
  },
  remove: (path) => rm(path, { force: true }),
};
