import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../digest.ts';
import { FerryError } from '../errors.ts';
import { type ImageConfig, imageConfigSchema } from '../oci/image-config.ts';
import { type Manifest, parseManifest } from '../oci/manifest.ts';

/** An image of a layout, read. */
export interface LayoutImage {
  readonly manifest: Manifest;
  readonly mediaType: string;
  readonly config: ImageConfig;
}

/** Gives the file of a blob in an OCI image layout. @see OCI image-spec 1.1, image-layout.md#blobs */
export function blobPath(layout: string, digest: Digest): string {
  return join(layout, 'blobs', ...digest.split(':'));
}

/**
 * Reads an image's manifest and config out of a layout.
 * @throws {FerryError} IMAGE_NOT_FOUND when the layout has not both
 * @throws {FerryError} IMAGE_INVALID when they are not those of an image for one platform
 */
export async function readImage(layout: string, digest: Digest): Promise<LayoutImage> {
  const bytes = await readBlob(layout, digest, digest);
  const mediaType = mediaTypeOf(bytes);
  const document = parseManifest(bytes, mediaType);
  if (document.kind !== 'manifest') {
    throw new FerryError('IMAGE_INVALID', `Cannot run "${digest}": it is an index, one platform's manifest was wanted`);
  }
  const text = await readBlob(layout, document.manifest.config.digest, digest);
  const config = imageConfigSchema.safeParse(parseJson(text));
  if (!config.success) {
    throw new FerryError('IMAGE_INVALID', `Cannot run "${digest}": its config is not one of an image`, {
      cause: config.error,
    });
  }
  return { manifest: document.manifest, mediaType, config: config.data };
}

async function readBlob(layout: string, digest: Digest, image: Digest): Promise<Buffer> {
  try {
    return await readFile(blobPath(layout, digest));
  } catch (cause) {
    throw new FerryError('IMAGE_NOT_FOUND', `Cannot read the image "${image}": "${layout}" has no blob "${digest}"`, {
      cause,
    });
  }
}

/** A layout's blobs have no media type beside them; a manifest says its own, and one that does not is OCI's. */
function mediaTypeOf(bytes: Buffer): string {
  const value = parseJson(bytes);
  if (typeof value === 'object' && value !== null && 'mediaType' in value && typeof value.mediaType === 'string') {
    return value.mediaType;
  }
  return 'application/vnd.oci.image.manifest.v1+json';
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
