import type { Digest } from '../digest.ts';
import { FerryError } from '../errors.ts';
import type { ImageConfig } from '../oci/image-config.ts';
import type { LayoutStore } from '../oci/layout-store.ts';
import { type ManifestDocument, parseManifest } from '../oci/manifest.ts';
import { mediaTypes } from '../oci/media-types.ts';
import { readImageConfig } from '../oci/unpack-image.ts';

/** An image of a layout, read. */
export interface LayoutImage {
  readonly document: ManifestDocument;
  readonly config: ImageConfig;
}

/**
 * Reads an image's manifest and config out of a layout, by the manifest's digest alone.
 * @throws {FerryError} IMAGE_NOT_FOUND when the layout has not both
 * @throws {FerryError} IMAGE_INVALID when they are not those of an image for one platform
 */
export async function readImage(layout: LayoutStore, digest: Digest): Promise<LayoutImage> {
  const document = await readManifest(layout, digest);
  return { document, config: await readImageConfig(layout, document) };
}

/** Reads a manifest out of a layout by its digest alone. */
export async function readManifest(layout: LayoutStore, digest: Digest): Promise<ManifestDocument> {
  const bytes = await layout.readBlob(digest);
  return parseManifest(bytes, mediaTypeOf(bytes, digest));
}

/** A layout's blobs have no media type beside them; a manifest says its own, and one that does not is OCI's. */
function mediaTypeOf(bytes: Uint8Array, digest: Digest): string {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString());
  } catch (cause) {
    throw new FerryError('IMAGE_INVALID', `Cannot read the manifest "${digest}": it is no JSON`, { cause });
  }
  if (typeof value === 'object' && value !== null && 'mediaType' in value && typeof value.mediaType === 'string') {
    return value.mediaType;
  }
  return mediaTypes.manifest;
}
