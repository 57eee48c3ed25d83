import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFailure } from '../../shared/oci/disk-full.ts';
import { isProcessAlive, processMark } from '../../shared/oci/process-mark.ts';
import type { Workspace } from './workspace.ts';

/** A folder for files on their way into the workspace. */
export interface Scratch extends AsyncDisposable {
  readonly path: string;
}

/**
 * Makes an empty folder in the workspace that goes when it is disposed of, or when this process is gone and the next one asks for its own.
 * @throws {FerryError} DISK_FULL when it cannot be made for want of room
 */
export async function openScratch(workspace: Workspace): Promise<Scratch> {
  const folder = join(workspace.folder, 'scratch');
  const path = join(folder, `${processMark()}.${randomBytes(6).toString('hex')}`);
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    throw writeFailure(error, `write to "${folder}"`);
  }
  for (const name of await readdir(folder)) {
    if (!isProcessAlive(name.slice(0, name.indexOf('.'))))
      await rm(join(folder, name), { recursive: true, force: true });
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
