import { readFile } from 'node:fs/promises';
import { writeDurably } from '../shared/durable-file.ts';

/** A small file that is read and replaced whole: one on the disk, or, of a device that is simulated, one in memory. */
export interface StateFile {
  /** Gives what it holds; throws when there is none. */
  read(): Promise<string>;
  /** Replaces what it holds, so that after a crash it is the old or the new. */
  write(text: string): Promise<void>;
}

/** Gives a file on the disk. What is desired may hold passwords of registries, so nobody else may read it. */
export function fileOnDisk(path: string): StateFile {
  return { read: () => readFile(path, 'utf8'), write: (text) => writeDurably(path, text, { mode: 0o600 }) };
}
