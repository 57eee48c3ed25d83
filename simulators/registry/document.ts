import { z } from 'zod';
import { type Digest, isDigest } from '../../shared/digest.ts';
import { Refusal } from './refusal.ts';

// OCI image-spec 1.1: descriptor.md, manifest.md, image-index.md.
const digestSchema = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value), { error: 'no digest' });
const descriptorSchema = z.looseObject({
  mediaType: z.string().min(1),
  digest: digestSchema,
  size: z.int().nonnegative(),
  urls: z.array(z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
const commonShape = {
  schemaVersion: z.literal(2),
  mediaType: z.string().optional(),
  artifactType: z.string().optional(),
  subject: descriptorSchema.optional(),
  annotations: z.record(z.string(), z.string()).optional(),
};
const manifestSchema = z.looseObject({
  ...commonShape,
  config: descriptorSchema,
  layers: z.array(descriptorSchema),
});
const indexSchema = z.looseObject({ ...commonShape, manifests: z.array(descriptorSchema) });

const manifestTypes = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const indexTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];

/** Media type of a list of referrers. */
export const indexMediaType = 'application/vnd.oci.image.index.v1+json';

export type Descriptor = z.infer<typeof descriptorSchema>;

/** What the registry has to know of a manifest or an index: what it needs, and what it says of itself to those it refers to. */
export interface Document {
  readonly blobs: readonly Descriptor[];
  readonly manifests: readonly Descriptor[];
  readonly subject: Digest | undefined;
  readonly artifactType: string | undefined;
  readonly annotations: Readonly<Record<string, string>> | undefined;
}

/** Says whether something of the media type is a manifest or an index, and can be read. */
export function isDocumentType(mediaType: string): boolean {
  return manifestTypes.includes(mediaType) || indexTypes.includes(mediaType);
}

/**
 * Reads a manifest or an index.
 * @param mediaType what it was stored or is pushed as
 * @throws {Refusal} MANIFEST_INVALID when it is neither, or says it is something else
 */
export function parseDocument(bytes: Uint8Array, mediaType: string): Document {
  const json = parseJson(bytes);
  const isIndex = indexTypes.includes(mediaType);
  if (!isDocumentType(mediaType)) {
    throw new Refusal('MANIFEST_INVALID', `the media type "${mediaType}" is no OCI or Docker manifest or index`, {
      status: 415,
    });
  }
  const document = isIndex ? read(indexSchema, json) : read(manifestSchema, json);
  if (document.mediaType !== undefined && document.mediaType !== mediaType) {
    throw new Refusal('MANIFEST_INVALID', `it says it is "${document.mediaType}", but comes as "${mediaType}"`);
  }
  const { subject, annotations, artifactType } = document;
  const common = { subject: subject?.digest, annotations };
  if ('manifests' in document && isIndex) {
    return { ...common, artifactType, blobs: [], manifests: (document as z.infer<typeof indexSchema>).manifests };
  }
  const { config, layers } = document as z.infer<typeof manifestSchema>;
  return {
    ...common,
    // Distribution-spec 1.1, "Listing Referrers": the config's media type where there is no artifactType.
    artifactType: artifactType ?? config.mediaType,
    // What has addresses of its own is held elsewhere.
    blobs: [config, ...layers].filter((blob) => blob.urls === undefined),
    manifests: [],
  };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new Refusal('MANIFEST_INVALID', 'it is no JSON');
  }
}

function read<T>(schema: z.ZodType<T>, json: unknown): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const wrong = result.error.issues.map(({ path, message }) => `${path.join('.') || 'document'}: ${message}`);
  throw new Refusal('MANIFEST_INVALID', wrong.join('; '));
}
