import { randomBytes } from 'node:crypto';
import { access, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../../digest.ts';
import { syncFolder } from '../../durable-file.ts';
import { blobPath, readImage } from '../image-layout.ts';
import { extractLayer } from './extract-layer.ts';
import type { UnpackedImage } from './image-root.ts';

/** Where images come from and are unpacked to. */
interface RootStoreOptions {
  /** OCI image layout. */
  readonly layout: string;
  readonly folder: string;
}

/**
 * Images unpacked, one folder a digest. A folder is there wholly or not at all: it is filled under another name and renamed.
 */
export class RootStore {
  readonly #layout: string;
  readonly #folder: string;

  constructor(options: RootStoreOptions) {
    this.#layout = options.layout;
    this.#folder = options.folder;
  }

  /**
   * Unpacks an image unless that was done before.
   * @throws {FerryError} IMAGE_NOT_FOUND when the layout has not all of it
   * @throws {FerryError} IMAGE_INVALID when a layer is no tar, or would write outside of the folder
   * @throws {FerryError} DISK_FULL
   */
  async prepare(image: Digest, signal?: AbortSignal): Promise<void> {
    const root = this.#root(image);
    if (await exists(root)) return;
    const { manifest } = await readImage(this.#layout, image);
    await mkdir(this.#folder, { recursive: true });
    const aside = `${root}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      for (const layer of manifest.layers) {
        signal?.throwIfAborted();
        await extractLayer(blobPath(this.#layout, layer.digest), layer.mediaType, aside, signal);
      }
      await rename(aside, root);
      await syncFolder(this.#folder);
    } finally {
      await rm(aside, { recursive: true, force: true });
    }
  }

  /** Gives an image that was unpacked. */
  async open(image: Digest): Promise<UnpackedImage> {
    const { config } = await readImage(this.#layout, image);
    return { root: this.#root(image), config };
  }

  /** Removes an image that was unpacked, if it was. */
  async forget(image: Digest): Promise<void> {
    const root = this.#root(image);
    const aside = `${root}.${randomBytes(6).toString('hex')}.tmp`;
    if (!(await exists(root))) return;
    await rename(root, aside);
    await rm(aside, { recursive: true, force: true });
  }

  /** Removes what a crash in the middle of unpacking left. */
  async sweep(): Promise<void> {
    const names = await readdir(this.#folder).catch(() => []);
    for (const name of names.filter((entry) => entry.endsWith('.tmp'))) {
      await rm(join(this.#folder, name), { recursive: true, force: true });
    }
  }

  #root(image: Digest): string {
    return join(this.#folder, image.replace(':', '-'));
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
