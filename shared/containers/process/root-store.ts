import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../../digest.ts';
import type { LayoutStore } from '../../oci/layout-store.ts';
import { unpackImage } from '../../oci/unpack-image.ts';
import { readImage } from '../image-layout.ts';
import type { UnpackedImage } from './image-root.ts';

/** Images of a layout, unpacked: one folder a digest, there wholly or not at all. */
export class RootStore {
  readonly #layout: LayoutStore;
  readonly #folder: string;

  /** @param folder made when it is first needed */
  constructor(layout: LayoutStore, folder: string) {
    this.#layout = layout;
    this.#folder = folder;
  }

  /**
   * Unpacks an image unless that was done before.
   * @throws {FerryError} IMAGE_NOT_FOUND, IMAGE_INVALID, DIGEST_MISMATCH, DISK_FULL
   */
  async prepare(image: Digest, signal?: AbortSignal): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const { document } = await readImage(this.#layout, image);
    await unpackImage(this.#layout, document, this.#root(image), signal === undefined ? {} : { signal });
  }

  /** Gives an image that was unpacked. */
  async open(image: Digest): Promise<UnpackedImage> {
    const { config } = await readImage(this.#layout, image);
    return { root: this.#root(image), config };
  }

  /** Removes an image that was unpacked, if it was. */
  async forget(image: Digest): Promise<void> {
    const root = this.#root(image);
    const isThere = await stat(root).then(
      () => true,
      () => false,
    );
    if (!isThere) return;
    // Renamed first, so that a crash in the middle leaves no half of it under its name.
    await rm(`${root}.gone`, { recursive: true, force: true });
    await rename(root, `${root}.gone`);
    await rm(`${root}.gone`, { recursive: true, force: true });
  }

  #root(image: Digest): string {
    return join(this.#folder, image.replace(':', '-'));
  }
}
