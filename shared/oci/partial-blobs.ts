import { readdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../digest.ts';
import { systemCodeOf } from '../errors.ts';
import { isProcessAlive, processMark } from './process-mark.ts';

/** How long a part that nobody goes on with is kept: a gateway may be without its link for some days. */
const keptMsMax = 7 * 24 * 60 * 60 * 1000;

/**
 * First parts of blobs that broke off, for who wants the same blob again.
 *
 * Invariants: a part is named after its blob and its owner, `<process>.<owner>.part-<digits>`, and only its owner writes to it; that of a
 * process that is gone is taken over by renaming it, which only one can do.
 */
export class PartialBlobs {
  readonly #folder: string;
  readonly #owner: string;
  readonly #active = new Set<Digest>();

  /** @param owner tells this object from all others of its process */
  constructor(folder: string, owner: string) {
    this.#folder = folder;
    this.#owner = owner;
  }

  /** Gives the path of the part to go on with, or to begin, until it is disposed of; undefined where the blob is on its way already. */
  async claim(digest: Digest): Promise<({ readonly path: string } & Disposable) | undefined> {
    if (this.#active.has(digest)) return undefined;
    this.#active.add(digest);
    const suffix = suffixOf(digest);
    const path = join(this.#folder, `${processMark()}.${this.#owner}${suffix}`);
    for (const name of await readdir(this.#folder)) {
      if (name.endsWith(suffix) && !isProcessAlive(markOf(name))) await renameIfThere(join(this.#folder, name), path);
    }
    return { path, [Symbol.dispose]: () => void this.#active.delete(digest) };
  }
}

/** Says whether a file aside is to be removed: its process is gone, and it is no part that may still be gone on with. */
export async function isLeftover(folder: string, name: string, nowMs: number): Promise<boolean> {
  if (isProcessAlive(markOf(name))) return false;
  if (!/\.part-[0-9a-f]{64}$/.test(name)) return true;
  const status = await stat(join(folder, name)).catch(() => undefined);
  return status !== undefined && status.mtimeMs < nowMs - keptMsMax;
}

function suffixOf(digest: Digest): string {
  return `.part-${digest.slice('sha256:'.length)}`;
}

function markOf(name: string): string {
  return name.split('.')[0] ?? '';
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
}
