import { z } from 'zod';
import { digestOf } from '../digest.ts';
import { FerryError } from '../errors.ts';
import { annotationsSchema, type Descriptor, descriptorSchema } from './descriptor.ts';
import { isIndexMediaType, isManifestMediaType, mediaTypes } from './media-types.ts';

/**
 * A config and its layers: an image, or an artifact when `artifactType` or another config type says so.
 * @see OCI image-spec 1.1, manifest.md
 */
export const manifestSchema = z
  .looseObject({
    schemaVersion: z.literal(2),
    mediaType: z.enum([mediaTypes.manifest, mediaTypes.dockerManifest]).optional(),
    artifactType: z.string().optional(),
    config: descriptorSchema,
    layers: z.array(descriptorSchema).readonly(),
    subject: descriptorSchema.optional(),
    annotations: annotationsSchema.readonly().optional(),
  })
  .readonly();

/**
 * Manifests, mostly one a platform; also what `index.json` of an image layout is.
 * @see OCI image-spec 1.1, image-index.md
 */
export const indexSchema = z
  .looseObject({
    schemaVersion: z.literal(2),
    mediaType: z.enum([mediaTypes.index, mediaTypes.dockerIndex]).optional(),
    artifactType: z.string().optional(),
    manifests: z.array(descriptorSchema).readonly(),
    subject: descriptorSchema.optional(),
    annotations: annotationsSchema.readonly().optional(),
  })
  .readonly();

export type Manifest = z.infer<typeof manifestSchema>;
export type ImageIndex = z.infer<typeof indexSchema>;

/** A manifest or index as it came over the wire, and what it says. */
export type ManifestDocument =
  | {
      readonly kind: 'manifest';
      readonly descriptor: Descriptor;
      readonly bytes: Uint8Array;
      readonly manifest: Manifest;
    }
  | { readonly kind: 'index'; readonly descriptor: Descriptor; readonly bytes: Uint8Array; readonly index: ImageIndex };

/** Largest manifest that is taken, in bytes; registries hold to the same 4 MiB (distribution-spec 1.1, "Pushing manifests"). */
export const manifestBytesMax = 4 * 1024 * 1024;

/**
 * Reads a manifest or an index.
 * @param mediaType what the other side calls it; it must be what the document itself says
 * @throws {FerryError} IMAGE_INVALID when it is neither, or is not what it is called
 */
export function parseManifest(bytes: Uint8Array, mediaType: string): ManifestDocument {
  const digest = digestOf(bytes);
  const invalid = (why: string, cause?: unknown): FerryError =>
    new FerryError('IMAGE_INVALID', `Cannot read the manifest "${digest}": ${why}`, { cause });
  if (bytes.byteLength > manifestBytesMax) {
    throw invalid(`it has ${bytes.byteLength} bytes, at most ${manifestBytesMax} were wanted`);
  }
  const json = parseJson(bytes, invalid);
  const descriptor: Descriptor = { mediaType, digest, size: bytes.byteLength };
  if (isManifestMediaType(mediaType)) {
    const read = manifestSchema.safeParse(json);
    if (!read.success) throw invalid(`it is no manifest: ${violations(read.error)}`, read.error);
    checkOwnType(read.data.mediaType, mediaType, invalid);
    const { artifactType = artifactTypeOfConfig(read.data) } = read.data;
    return {
      kind: 'manifest',
      descriptor: artifactType === undefined ? descriptor : { ...descriptor, artifactType },
      bytes,
      manifest: read.data,
    };
  }
  if (isIndexMediaType(mediaType)) {
    const read = indexSchema.safeParse(json);
    if (!read.success) throw invalid(`it is no index: ${violations(read.error)}`, read.error);
    checkOwnType(read.data.mediaType, mediaType, invalid);
    return { kind: 'index', descriptor, bytes, index: read.data };
  }
  throw invalid(`its media type is "${mediaType}", an OCI or Docker manifest or index was wanted`);
}

/** Gives everything that a manifest or index refers to and that must be there for it to be of use. */
export function childrenOf(document: ManifestDocument): {
  readonly blobs: readonly Descriptor[];
  readonly manifests: readonly Descriptor[];
} {
  if (document.kind === 'index') return { blobs: [], manifests: document.index.manifests };
  const { config, layers } = document.manifest;
  // A layer with its own addresses ("foreign") is fetched from there; no registry has to hold it.
  return { blobs: [config, ...layers].filter((layer) => layer['urls'] === undefined), manifests: [] };
}

/** Writes a manifest, index or config as bytes that are the same for the same value: members in the order that they have. */
export function encodeJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function parseJson(bytes: Uint8Array, invalid: (why: string, cause?: unknown) => FerryError): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalid('it is no JSON', cause);
  }
}

function checkOwnType(own: string | undefined, called: string, invalid: (why: string) => FerryError): void {
  if (own !== undefined && own !== called) throw invalid(`it says it is "${own}", but was given as "${called}"`);
}

/** Image-spec 1.1, manifest.md: an artifact without `artifactType` has its config's media type as its type. */
function artifactTypeOfConfig({ config }: Manifest): string | undefined {
  const ordinary: readonly string[] = [mediaTypes.config, mediaTypes.dockerConfig, mediaTypes.empty];
  return ordinary.includes(config.mediaType) ? undefined : config.mediaType;
}

function violations(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => `${path.join('.') || 'document'}: ${message}`).join('; ');
}
