import type { Digest } from '../digest.ts';
import type { Descriptor } from './descriptor.ts';
import { encodeJson, type ImageIndex, type ManifestDocument } from './manifest.ts';
import { mediaTypes } from './media-types.ts';

/**
 * Gives the tag of the index that lists what refers to a manifest, where a registry does not list it by itself.
 * @see OCI distribution-spec 1.1, "Referrers Tag Schema"
 */
export function referrersTag(subject: Digest): string {
  return subject.replace(':', '-');
}

/** Gives the subject of a manifest or index, where it has one. */
export function subjectOf(document: ManifestDocument): Descriptor | undefined {
  return document.kind === 'index' ? document.index.subject : document.manifest.subject;
}

/** Gives the index with one more referrer, or undefined where it lists it already. */
export function withReferrer(index: ImageIndex | undefined, document: ManifestDocument): Uint8Array | undefined {
  const listed = index?.manifests ?? [];
  if (listed.some(({ digest }) => digest === document.descriptor.digest)) return undefined;
  const { annotations, artifactType } = document.kind === 'index' ? document.index : document.manifest;
  const referrer = {
    ...document.descriptor,
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations !== undefined && { annotations }),
  };
  return encodeJson({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [...listed, referrer] });
}
