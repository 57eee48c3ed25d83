import { chmod, type FileHandle, link, lstat, mkdir, open, readdir, readlink, rm, symlink } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { FerryError, systemCodeOf } from '../errors.ts';

/** The links that are followed on the way to one entry at most; Linux has the same number. */
const linksMax = 40;

/** Bits of a mode that are kept: set-user-id and set-group-id would give away the rights of who unpacks. */
const modeBits = 0o1777;

/**
 * The folder that layers are unpacked into. All paths are relative to it, without `.` and `..`.
 *
 * Invariants:
 * - every link in it has a target that is relative, begins with all of its `..`, and has no more of them than folders above it, so
 *   that however links are chained, none leads out;
 * - folders are never moved, so this stays true;
 * - what stands in the way of an entry is removed, never followed or written through.
 */
export class LayerRoot {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Gives where a path really is, with the links above its last component followed, and makes the folders that are missing there.
   * @throws {FerryError} IMAGE_INVALID when a component above is a file, or links go in circles
   */
  async place(path: string): Promise<string> {
    const waiting = posix.dirname(path).split('/');
    let at = '';
    let links = 0;
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      if (next === '.' || next === '') continue;
      if (next === '..') {
        at = parentOf(at);
        continue;
      }
      const here = posix.join(at, next);
      const status = await this.#look(here);
      if (status === undefined) await mkdir(this.#real(here), { mode: 0o755 });
      else if (status.isSymbolicLink()) {
        links += 1;
        if (links > linksMax) throw invalid(path, `over ${linksMax} links lead there`);
        waiting.unshift(...(await readlink(this.#real(here))).split('/'));
        continue;
      } else if (!status.isDirectory()) throw invalid(path, `"${here}" is no folder`);
      at = here;
    }
    return posix.join(at, posix.basename(path));
  }

  /** Makes a file in place of whatever is there. @param place what {@link place} gave */
  async createFile(place: string, mode: number): Promise<FileHandle> {
    await this.remove(place);
    // Readable by who unpacks it, whatever the image says.
    const file = await open(this.#real(place), 'wx');
    await file.chmod((mode & modeBits) | 0o400);
    return file;
  }

  /** Makes a folder; one that is there keeps what is in it. */
  async createFolder(place: string, mode: number): Promise<void> {
    if ((await this.#look(place))?.isDirectory() !== true) {
      await this.remove(place);
      await mkdir(this.#real(place));
    }
    // Writable by who unpacks: the next entry may be in it.
    await chmod(this.#real(place), (mode & modeBits) | 0o700);
  }

  /**
   * Makes a symbolic link in place of whatever is there. An absolute target is one from the root of the image.
   * @throws {FerryError} IMAGE_INVALID when it leads out
   */
  async createSymlink(place: string, target: string): Promise<void> {
    const folder = posix.dirname(place) === '.' ? '' : posix.dirname(place);
    const inner = containedTarget(folder, target);
    if (inner === undefined) throw invalid(place, `it is a link to "${target}", which leads out of the image`);
    await this.remove(place);
    await symlink(inner, this.#real(place));
  }

  /**
   * Makes a second name of a file in place of whatever is there.
   * @throws {FerryError} IMAGE_INVALID when there is no such file
   */
  async createHardLink(place: string, target: string): Promise<void> {
    const from = await this.place(target);
    if ((await this.#look(from))?.isFile() !== true)
      throw invalid(place, `it is a link to "${target}", which is no file`);
    if (from === place) throw invalid(place, 'it is a link to itself');
    await this.remove(place);
    await link(this.#real(from), this.#real(place));
  }

  async remove(place: string): Promise<void> {
    await rm(this.#real(place), { recursive: true, force: true });
  }

  /** Gives the names in a folder; none where there is no such folder. */
  async list(place: string): Promise<readonly string[]> {
    return (await this.#look(place))?.isDirectory() === true ? readdir(this.#real(place)) : [];
  }

  async #look(place: string): Promise<Awaited<ReturnType<typeof lstat>> | undefined> {
    try {
      return await lstat(this.#real(place));
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  #real(place: string): string {
    return join(this.#folder, place);
  }
}

/** Gives a link's target so that it holds the root's invariant, or undefined where it leads out. */
function containedTarget(folder: string, target: string): string | undefined {
  if (target === '' || target.includes('\0')) return undefined;
  if (target.startsWith('/')) return posix.relative(`/${folder}`, posix.normalize(target)) || '.';
  const inner = posix.normalize(target);
  const above = inner.split('/').filter((part) => part === '..').length;
  const depth = folder === '' ? 0 : folder.split('/').length;
  return above <= depth ? inner : undefined;
}

function parentOf(place: string): string {
  const parent = posix.dirname(place);
  return parent === '.' ? '' : parent;
}

function invalid(path: string, why: string): FerryError {
  return new FerryError('IMAGE_INVALID', `Cannot unpack "${path}": ${why}`);
}
