import { type Digest, digestOf } from '../../shared/digest.ts';
import type { ImageConfig } from '../../shared/oci/image-config.ts';
import { encodeJson } from '../../shared/oci/manifest.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { imageUser, nodePath } from './base-layer.ts';
import { serverPath } from './engine-layer.ts';
import type { ImageLayer } from './image.ts';
import type { ImagePlatform } from './platform.ts';

/** Port that the scoring server listens to. */
const scoringPort = 5001;

/** The same for every image ever: an image follows from its content, and the moment when it was put together is no part of that. */
const noTime = '1970-01-01T00:00:00Z';

/** What an image is put together from. */
export interface ImageParts {
  readonly name: string;
  readonly platform: ImagePlatform;
  /** From the lowest to the topmost. */
  readonly layers: readonly ImageLayer[];
}

/** An image's two documents, as the bytes that are stored. */
export interface ImageDocuments {
  readonly config: Uint8Array;
  readonly manifest: Uint8Array;
  /** Digest of the manifest, which is the image's. */
  readonly digest: Digest;
}

/**
 * Writes an image's config and manifest; they follow from its parts alone.
 * @see OCI image-spec 1.1, config.md and manifest.md
 */
export function imageDocuments({ name, platform, layers }: ImageParts): ImageDocuments {
  const models = layers.flatMap((layer) => layer.model ?? []);
  const labels = {
    'org.opencontainers.image.title': name,
    'org.opencontainers.image.description': `Scoring image of ${models.join(', ')}`,
  };
  const config = encodeJson({
    created: noTime,
    architecture: platform.architecture,
    os: platform.os,
    config: {
      User: `${imageUser.id}:${imageUser.group}`,
      ExposedPorts: { [`${scoringPort}/tcp`]: {} },
      // ONNX Runtime would send telemetry to its maker otherwise.
      Env: ['PATH=/usr/local/bin', 'NODE_ENV=production', 'HOME=/tmp', 'ORT_DISABLE_TELEMETRY=1'],
      Entrypoint: [nodePath, serverPath],
      WorkingDir: '/app',
      Labels: labels,
      StopSignal: 'SIGTERM',
    },
    // Layers are not compressed, so a layer's digest is that of its content too.
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    history: layers.map((layer) => ({ created: noTime, created_by: `ferry: ${layerText(layer)}` })),
  } satisfies ImageConfig);
  const manifest = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: digestOf(config), size: config.byteLength },
    layers: layers.map(({ digest, sizeBytes }) => ({ mediaType: mediaTypes.layer, digest, size: sizeBytes })),
    annotations: labels,
  });
  return { config, manifest, digest: digestOf(manifest) };
}

function layerText({ kind, model }: ImageLayer): string {
  return model === undefined ? kind : `${kind} ${model}`;
}
