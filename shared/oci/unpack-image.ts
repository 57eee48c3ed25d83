import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { syncFolder } from '../durable-file.ts';
import { FerryError, systemCodeOf } from '../errors.ts';
import { writeFailure } from './disk-full.ts';
import type { Descriptor } from './descriptor.ts';
import { type ImageConfig, imageConfigSchema } from './image-config.ts';
import { type LayerPlaces, LayerPlacesNotes, sharedLayers } from './layer-places.ts';
import type { LayoutStore } from './layout-store.ts';
import { linkLayers } from './link-layers.ts';
import type { ManifestDocument } from './manifest.ts';
import { isProcessAlive, processMark } from './process-mark.ts';
import { unpackLayer } from './unpack-layer.ts';
import { verified } from './verified.ts';

/** The settings of {@link unpackImage}. */
export interface UnpackImageOptions {
  readonly signal?: AbortSignal;
  /** Called with how many bytes of the image's layers are done. */
  readonly onProgress?: (bytes: number) => void;
  /** Where leading layers of it were unpacked before: those are taken over from there. */
  readonly donor?: LayerDonor | undefined;
  /** Whether it is noted which layer puts what where, for the image to be a donor itself. @default false */
  readonly notesPlaces?: boolean;
}

/** A folder that an image with some of the same layers is unpacked to. */
export interface LayerDonor {
  readonly folder: string;
  readonly places: LayerPlaces;
}

/**
 * Reads what an image runs.
 * @throws {FerryError} IMAGE_INVALID when it is an index or an artifact, or its config is none
 */
export async function readImageConfig(store: LayoutStore, image: ManifestDocument): Promise<ImageConfig> {
  const { digest } = image.descriptor;
  if (image.kind === 'index') {
    throw new FerryError(
      'IMAGE_INVALID',
      `Cannot use "${digest}": it is an index, the image of one platform was wanted`,
    );
  }
  try {
    return imageConfigSchema.parse(
      JSON.parse(Buffer.from(await store.readBlob(image.manifest.config.digest)).toString()),
    );
  } catch (cause) {
    if (cause instanceof FerryError) throw cause;
    throw new FerryError('IMAGE_INVALID', `Cannot use "${digest}": its config is not what an image has`, { cause });
  }
}

/**
 * Unpacks an image of a layout into a folder, every layer checked against its digest. The folder is there wholly or not at all, also
 * after a kill; where it is there already, nothing is done. Layers that a donor has are not read again.
 * @param folder its parent must be there
 * @throws {FerryError} IMAGE_INVALID when it is no image, or a layer is refused by `unpackLayer`
 * @throws {FerryError} DIGEST_MISMATCH when the disk has changed a layer
 * @throws {FerryError} DISK_FULL when there is no room; nothing is left behind then
 * @returns what its layers have put where; nothing where that was not asked for, the folder was there, or they put too much
 */
export async function unpackImage(
  store: LayoutStore,
  image: ManifestDocument,
  folder: string,
  options: UnpackImageOptions = {},
): Promise<LayerPlaces | undefined> {
  if (await isThere(folder)) return undefined;
  const { digest } = image.descriptor;
  if (image.kind === 'index') {
    throw new FerryError(
      'IMAGE_INVALID',
      `Cannot unpack "${digest}": it is an index, the image of one platform was wanted`,
    );
  }
  await sweep(folder);
  const aside = `${folder}.${processMark()}${asideSuffix}`;
  try {
    await mkdir(aside);
    const { layers } = image.manifest;
    const { notes, count } = await takeOver(layers, aside, options.donor);
    let bytes = layers.slice(0, count).reduce((sum, { size }) => sum + size, 0);
    if (count > 0) options.onProgress?.(bytes);
    for (const layer of layers.slice(count)) {
      notes.begin(layer.digest);
      const source = verified(await store.openBlob(layer.digest), layer, `the layout "${store.folder}"`);
      const { mediaType } = layer;
      await unpackLayer(source, aside, {
        mediaType,
        ...(options.notesPlaces === true && { notes }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      bytes += layer.size;
      options.onProgress?.(bytes);
    }
    await syncFolder(aside);
    await rename(aside, folder);
    await syncFolder(dirname(folder));
    return options.notesPlaces === true ? notes.notes() : undefined;
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    throw writeFailure(error, `unpack "${digest}" into "${folder}"`);
  }
}

const asideSuffix = '.partial';

/** Takes leading layers over from a donor, all or none. @returns how many */
async function takeOver(
  layers: readonly Descriptor[],
  aside: string,
  donor: LayerDonor | undefined,
): Promise<{ readonly notes: LayerPlacesNotes; readonly count: number }> {
  const wanted = layers.map(({ digest }) => digest);
  const count = donor === undefined ? 0 : sharedLayers(donor.places, wanted);
  if (donor === undefined || count === 0) return { notes: new LayerPlacesNotes(), count: 0 };
  try {
    return { notes: await linkLayers(donor, { count, to: aside }), count };
  } catch (error) {
    // The donor may go at any time, and there are file systems without links: then the layers are unpacked.
    if (systemCodeOf(error) === undefined) throw error;
    await rm(aside, { recursive: true, force: true });
    await mkdir(aside);
    return { notes: new LayerPlacesNotes(), count: 0 };
  }
}

/** Removes what processes left that died while unpacking into the same folder. */
async function sweep(folder: string): Promise<void> {
  const prefix = `${basename(folder)}.`;
  for (const name of await readdir(dirname(folder))) {
    if (!name.startsWith(prefix) || !name.endsWith(asideSuffix)) continue;
    const mark = name.slice(prefix.length, -asideSuffix.length);
    if (!isProcessAlive(mark)) await rm(join(dirname(folder), name), { recursive: true, force: true });
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw error;
  }
}
