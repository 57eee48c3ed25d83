import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf } from '../digest.ts';
import { writeDurably } from '../durable-file.ts';
import { systemCodeOf } from '../errors.ts';
import { isProcessAlive, processMark } from './process-mark.ts';

/**
 * Where uploads that have begun go on at their registries, for who pushes the same blob after this process was killed.
 *
 * Invariants: a file is named after its owner and what is uploaded, `<process>.<owner>.<digits>`; only the owner writes to it, and that of a process that
 * is gone is taken over by renaming it, which only one can do. What cannot be kept only costs time. An address may hold a secret, so nobody
 * else may read it.
 */
export class UploadSessions {
  readonly #folder: string;
  /** Tells this object from all others of its process. */
  readonly #owner = randomBytes(6).toString('hex');

  /** @param folder made when the first one is kept */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Takes over where an upload goes on that a process left which is gone; undefined where there is none. */
  async claim(upload: string): Promise<URL | undefined> {
    const suffix = suffixOf(upload);
    const path = this.#pathOf(upload);
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const [mark = ''] = name.split('.');
      if (!name.endsWith(suffix) || isProcessAlive(mark)) continue;
      if (!(await renameIfThere(join(this.#folder, name), path))) continue;
      const location = URL.parse(await readFile(path, 'utf8').catch(() => ''));
      if (location !== null) return location;
    }
    return undefined;
  }

  /** Keeps where an upload goes on. */
  async keep(upload: string, location: URL): Promise<void> {
    await mkdir(this.#folder, { recursive: true }).catch(() => undefined);
    await writeDurably(this.#pathOf(upload), location.href, { mode: 0o600 }).catch(() => undefined);
  }

  /** Forgets an upload that is at its end. */
  async forget(upload: string): Promise<void> {
    await rm(this.#pathOf(upload), { force: true }).catch(() => undefined);
  }

  #pathOf(upload: string): string {
    return join(this.#folder, `${processMark()}.${this.#owner}${suffixOf(upload)}`);
  }
}

function suffixOf(upload: string): string {
  return `.${digestOf(upload).slice('sha256:'.length)}`;
}

async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw error;
  }
}
