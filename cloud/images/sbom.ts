import { z } from 'zod';
import { digestOf } from '../../shared/digest.ts';
import type { Descriptor } from '../../shared/oci/descriptor.ts';
import { encodeJson } from '../../shared/oci/manifest.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import type { Model } from '../models/model.ts';

/** A part of an image that somebody else made or that was made elsewhere. */
export const componentSchema = z.strictObject({
  type: z.enum(['application', 'container', 'library', 'machine-learning-model']),
  name: z.string().min(1),
  version: z.string().min(1),
  /** Package URL, where there is one. @see https://github.com/package-url/purl-spec */
  purl: z.string().optional(),
});

export type Component = z.infer<typeof componentSchema>;

/** OCI media type of a CycloneDX document, by which tools look for it among what refers to an image. */
const cycloneDxMediaType = 'application/vnd.cyclonedx+json';
/** OCI image-spec 1.1, manifest.md, "Guidelines for Artifact Usage": the config of an artifact that has none. */
const emptyConfig = new TextEncoder().encode('{}');

/** What an SBOM is about. */
export interface SbomSubject {
  readonly name: string;
  /** The image's manifest or index. */
  readonly descriptor: Descriptor;
  readonly components: readonly Component[];
  readonly models: readonly Model[];
}

/** An SBOM as an OCI artifact that refers to its image; the bytes that are stored. */
export interface SbomArtifact {
  readonly blobs: readonly Uint8Array[];
  readonly manifest: Uint8Array;
}

/**
 * Writes what an image consists of as a CycloneDX document, in an artifact that refers to the image. It follows from the image alone: no time,
 * no random serial number.
 * @see https://cyclonedx.org/docs/1.6/json/
 */
export function sbomArtifact({ name, descriptor, components, models }: SbomSubject): SbomArtifact {
  const listed = new Map<string, object>();
  for (const component of components) listed.set(`${component.type} ${component.name} ${component.version}`, component);
  for (const model of models) {
    const { name, version, digest } = model;
    listed.set(`model ${name}`, {
      type: 'machine-learning-model',
      name,
      version: String(version),
      hashes: [{ alg: 'SHA-256', content: digest.slice('sha256:'.length) }],
    });
  }
  const document = encodeJson({
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: { type: 'container', name, version: descriptor.digest } },
    components: [...listed].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, component]) => component),
  });
  const manifest = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType: cycloneDxMediaType,
    config: { mediaType: mediaTypes.empty, digest: digestOf(emptyConfig), size: emptyConfig.byteLength },
    layers: [{ mediaType: cycloneDxMediaType, digest: digestOf(document), size: document.byteLength }],
    subject: { mediaType: descriptor.mediaType, digest: descriptor.digest, size: descriptor.size },
  });
  return { blobs: [emptyConfig, document], manifest };
}

/** Describes an npm package as a component. */
export function npmComponent(name: string, version: string): Component {
  const escaped = name.startsWith('@') ? `%40${name.slice(1)}` : name;
  return { type: 'library', name, version, purl: `pkg:npm/${escaped}@${version}` };
}
