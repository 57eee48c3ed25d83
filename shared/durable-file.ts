import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The settings of {@link writeDurably}. */
export interface WriteDurablyOptions {
  /** Permission bits of the file. @default 0o644 */
  readonly mode?: number;
}

/**
 * Replaces a file's content so that after a crash at any moment it is either wholly the old one or wholly the new one:
 * writes aside, syncs, renames, syncs the folder. The folder must exist.
 */
export async function writeDurably(
  path: string,
  content: Uint8Array | string,
  options: WriteDurablyOptions = {},
): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await using file = await open(aside, 'wx', options.mode ?? 0o644);
    await file.writeFile(content);
    await file.sync();
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Makes the names in a folder durable: what was created, renamed or removed in it before is so after a power cut. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}
