import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Digest } from '../../digest.ts';
import { writeDurably } from '../../durable-file.ts';
import { layerPlacesSchema, sharedLayers } from '../../oci/layer-places.ts';
import type { LayoutStore } from '../../oci/layout-store.ts';
import { type LayerDonor, unpackImage } from '../../oci/unpack-image.ts';
import { readImage } from '../image-layout.ts';
import type { UnpackedImage } from './image-root.ts';

/** Folders of a store that are looked at for layers to take over at most, and notes in each. */
const neighboursMax = 64;
const notesMax = 16;

/**
 * Images of a layout, unpacked: one folder a digest, there wholly or not at all. Where it is told of neighbours, images that begin with the same
 * layers have the files of those in common: unpacking the next version of a model takes no longer than its own layers. A program that may write
 * into a file of its image then changes it for all of them, so a device, whose last good image must stay what it was, is told of none.
 */
export class RootStore {
  readonly #layout: LayoutStore;
  readonly #folder: string;
  readonly #roots: string;
  readonly #neighbours: (() => Promise<readonly string[]>) | undefined;

  /**
   * @param folder made when it is first needed
   * @param neighbours gives folders of other stores, whose layers may be taken over as well as those of this one; without it every image has
   *   files of its own
   */
  constructor(layout: LayoutStore, folder: string, neighbours?: () => Promise<readonly string[]>) {
    this.#layout = layout;
    this.#folder = folder;
    this.#roots = join(folder, 'roots');
    this.#neighbours = neighbours;
  }

  /**
   * Unpacks an image unless that was done before.
   * @throws {FerryError} IMAGE_NOT_FOUND, IMAGE_INVALID, DIGEST_MISMATCH, DISK_FULL
   */
  async prepare(image: Digest, signal?: AbortSignal): Promise<void> {
    const root = this.#root(image);
    if (await isThere(root)) return;
    await mkdir(this.#roots, { recursive: true });
    const { document } = await readImage(this.#layout, image);
    const layers = document.kind === 'manifest' ? document.manifest.layers.map(({ digest }) => digest) : [];
    const donor = this.#neighbours && (await this.#findDonor(layers, await this.#neighbours()));
    const places = await unpackImage(this.#layout, document, root, {
      donor,
      notesPlaces: this.#neighbours !== undefined,
      ...(signal === undefined ? {} : { signal }),
    });
    if (places === undefined) return;
    // Without notes it is unpacked all the same, and nobody takes its layers over.
    await mkdir(notesFolder(this.#folder), { recursive: true });
    await writeDurably(this.#notes(image), JSON.stringify(places)).catch(() => undefined);
  }

  /** Gives an image that was unpacked. */
  async open(image: Digest): Promise<UnpackedImage> {
    const { config } = await readImage(this.#layout, image);
    return { root: this.#root(image), config };
  }

  /** Removes an image that was unpacked, if it was. */
  async forget(image: Digest): Promise<void> {
    const root = this.#root(image);
    const gone = `${root}.gone`;
    await rm(this.#notes(image), { force: true });
    // Renamed first, so that a crash in the middle leaves no half of it under its name; and what a crash left is removed the next time.
    await rm(gone, { recursive: true, force: true });
    if (!(await isThere(root))) return;
    await rename(root, gone);
    await rm(gone, { recursive: true, force: true });
  }

  /** Finds the image that has the most of the layers unpacked already. */
  async #findDonor(layers: readonly Digest[], neighbours: readonly string[]): Promise<LayerDonor | undefined> {
    let found: { readonly donor: LayerDonor; readonly count: number } | undefined;
    for (const folder of new Set([this.#folder, ...neighbours.slice(0, neighboursMax)])) {
      for (const donor of await donorsIn(folder)) {
        const count = sharedLayers(donor.places, layers);
        if (count > (found?.count ?? 0)) found = { donor, count };
      }
    }
    return found?.donor;
  }

  #root(image: Digest): string {
    return join(this.#roots, nameOf(image));
  }

  #notes(image: Digest): string {
    return join(notesFolder(this.#folder), `${nameOf(image)}.json`);
  }
}

/** Reads what was noted of a store's images; what is not whole, or of an image that is gone, counts as nothing. */
async function donorsIn(folder: string): Promise<readonly LayerDonor[]> {
  const names = await readdir(notesFolder(folder)).catch(() => []);
  const donors = names.slice(0, notesMax).map(async (name): Promise<LayerDonor[]> => {
    const text = await readFile(join(notesFolder(folder), name), 'utf8').catch(() => '');
    const read = layerPlacesSchema.safeParse(parsedOrUndefined(text));
    return read.success ? [{ folder: join(folder, 'roots', basename(name, '.json')), places: read.data }] : [];
  });
  return (await Promise.all(donors)).flat();
}

function parsedOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function notesFolder(folder: string): string {
  return join(folder, 'root-notes');
}

function nameOf(image: Digest): string {
  return image.replace(':', '-');
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
