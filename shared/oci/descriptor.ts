import { z } from 'zod';
import { type Digest, isDigest } from '../digest.ts';

/** A digest of the algorithm that is used here, SHA-256; the rarer ones of the specification are refused. */
export const digestSchema = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value), {
  error: 'not sha256: and 64 lower-case hexadecimal digits',
});

/** Texts by name, as OCI annotations are. */
export const annotationsSchema = z.record(z.string(), z.string());

/**
 * Where an image of an index can run.
 * @see OCI image-spec 1.1, image-index.md
 */
export const platformSchema = z
  .looseObject({
    architecture: z.string(),
    os: z.string(),
    'os.version': z.string().optional(),
    variant: z.string().optional(),
  })
  .readonly();

/**
 * What points at content: its type, digest and size.
 * @see OCI image-spec 1.1, descriptor.md
 */
export const descriptorSchema = z
  .looseObject({
    mediaType: z.string().min(1),
    digest: digestSchema,
    size: z.int().nonnegative(),
    annotations: annotationsSchema.readonly().optional(),
    artifactType: z.string().optional(),
    platform: platformSchema.optional(),
  })
  .readonly();

export type Platform = z.infer<typeof platformSchema>;
export type Descriptor = z.infer<typeof descriptorSchema>;
