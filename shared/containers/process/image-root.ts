import { lstat, readlink } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { FerryError } from '../../errors.ts';
import type { ImageConfig } from '../../oci/image-config.ts';

/** An image that is unpacked into a folder. */
export interface UnpackedImage {
  /** The folder that is the image's `/`. */
  readonly root: string;
  readonly config: ImageConfig;
}

/** Most links that are followed in one path; Linux follows 40 (path_resolution(7)). */
const linksMax = 40;

/**
 * Finds where a path of the image is on this machine, following links as if the folder were the root file system: a link to
 * `/usr/lib` leads to the image's, and none leads out of it. Nothing has to be at the end of the path.
 * @throws {FerryError} IMAGE_INVALID when links lead in a circle
 */
export async function resolveInRoot(root: string, path: string): Promise<string> {
  let rest = path.split('/').filter((part) => part !== '');
  let at = '/';
  let links = 0;
  while (rest.length > 0) {
    const [part = '', ...after] = rest;
    const next = posix.normalize(posix.join(at, part));
    const target = await linkTarget(join(root, next));
    if (target === undefined) {
      at = next;
      rest = after;
      continue;
    }
    links += 1;
    if (links > linksMax) {
      throw new FerryError('IMAGE_INVALID', `Cannot follow "${path}" in the image: its links lead in a circle`);
    }
    rest = [...target.split('/').filter((piece) => piece !== ''), ...after];
    if (target.startsWith('/')) at = '/';
  }
  return join(root, at);
}

async function linkTarget(path: string): Promise<string | undefined> {
  const status = await lstat(path).catch(() => undefined);
  return status?.isSymbolicLink() ? readlink(path) : undefined;
}
