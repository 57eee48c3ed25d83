import { digestOf } from '../../shared/digest.ts';
import { encodeJson } from '../../shared/oci/manifest.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import type { Digest } from '../../shared/digest.ts';
import type { Model } from './model.ts';

/** What kind of OCI artifact a model is. */
const artifactType = 'application/vnd.modelferry.model.v1';
const configMediaType = 'application/vnd.modelferry.model.config.v1+json';

/** OCI image-spec 1.1, annotations.md. */
const title = 'org.opencontainers.image.title';

/** What of a model is in its artifact: what follows from its files, and nothing that may be changed later or differs by version. */
export type ArtifactContent = Pick<Model, 'name' | 'mainPath' | 'files' | 'format' | 'signature' | 'metadata'>;

/**
 * Describes a model as an OCI artifact: its metadata as the config, its files as the one layer, which images refer to as well.
 * @see OCI image-spec 1.1, manifest.md#guidelines-for-artifact-usage
 */
export function modelArtifact(
  content: ArtifactContent,
  layer: { readonly digest: Digest; readonly size: number },
): { readonly config: Uint8Array; readonly manifest: Uint8Array } {
  const { name, mainPath, files, format, signature, metadata } = content;
  const config = encodeJson({ schemaVersion: 1, name, format, mainPath, files, signature, metadata });
  const manifest = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType,
    config: { mediaType: configMediaType, digest: digestOf(config), size: config.byteLength },
    // Tools that pull artifacts write a layer to the file that its title names, and pass over one without.
    layers: [
      { mediaType: mediaTypes.layer, digest: layer.digest, size: layer.size, annotations: { [title]: `${name}.tar` } },
    ],
    annotations: { [title]: name },
  });
  return { config, manifest };
}
