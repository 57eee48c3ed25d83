import { type Digest, digestOf } from '../../shared/digest.ts';
import type { ImageConfig } from '../../shared/oci/image-config.ts';
import { encodeJson } from '../../shared/oci/manifest.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { imageUser, nodePath } from './base-layer.ts';
import { serverArguments, serverEnvironment } from './server-command.ts';
import type { ImageLayer } from './image.ts';
import type { ImagePlatform } from './platform.ts';

/** Port that the scoring server listens to. */
const scoringPort = 5001;

/** The same for every image ever: an image follows from its content, and the moment when it was put together is no part of that. */
const noTime = '1970-01-01T00:00:00Z';

/** What an image is put together from, for one platform. */
export interface PlatformParts {
  readonly platform: ImagePlatform;
  /** From the lowest to the topmost. */
  readonly layers: readonly ImageLayer[];
  /** Variables of the base, as `NAME=value`. */
  readonly environment: readonly string[];
  /** Folders that outlive a container. */
  readonly volumes: readonly string[];
  readonly healthIntervalSeconds: number;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A manifest or index as the bytes that are stored. */
export interface ManifestBytes {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
}

/** An image's documents. */
export interface ImageDocuments {
  readonly configs: readonly Uint8Array[];
  /** The manifests that an index lists; none where the image is for one platform. */
  readonly manifests: readonly ManifestBytes[];
  /** What the image is known by: its manifest, or its index. */
  readonly root: ManifestBytes;
  readonly digest: Digest;
}

/**
 * Writes an image's config and manifest, and for several platforms an index of them; they follow from its parts alone.
 * @param parts one a platform, at least one
 * @see OCI image-spec 1.1, config.md, manifest.md and image-index.md
 */
export function imageDocuments(name: string, parts: readonly PlatformParts[]): ImageDocuments {
  const written = parts.map((part) => writePlatform(name, part));
  const configs = written.map(({ config }) => config);
  const [only, ...more] = written;
  if (only === undefined) throw new Error('An image is for one platform at least');
  if (more.length === 0) {
    const root = { bytes: only.manifest, mediaType: mediaTypes.manifest };
    return { configs, manifests: [], root, digest: digestOf(only.manifest) };
  }
  const index = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: written.map(({ manifest }, at) => ({
      mediaType: mediaTypes.manifest,
      digest: digestOf(manifest),
      size: manifest.byteLength,
      platform: { architecture: parts[at]?.platform.architecture, os: parts[at]?.platform.os },
    })),
    annotations: sorted({ ...labelsOf(name, parts[0]?.layers ?? []), ...sharedAnnotations(parts) }),
  });
  return {
    configs,
    manifests: written.map(({ manifest }) => ({ bytes: manifest, mediaType: mediaTypes.manifest })),
    root: { bytes: index, mediaType: mediaTypes.index },
    digest: digestOf(index),
  };
}

function writePlatform(
  name: string,
  parts: PlatformParts,
): { readonly config: Uint8Array; readonly manifest: Uint8Array } {
  const { platform, layers, environment, volumes, healthIntervalSeconds, annotations } = parts;
  const labels = sorted({ ...labelsOf(name, layers), ...annotations });
  const config = encodeJson({
    created: noTime,
    architecture: platform.architecture,
    os: platform.os,
    config: {
      User: `${imageUser.id}:${imageUser.group}`,
      ExposedPorts: { [`${scoringPort}/tcp`]: {} },
      Env: mergeEnvironment(environment),
      Entrypoint: [nodePath, ...serverArguments],
      WorkingDir: '/app',
      Labels: labels,
      StopSignal: 'SIGTERM',
      Healthcheck: { ...healthCheck, Interval: healthIntervalSeconds * 1e9 },
      ...(volumes.length > 0 && { Volumes: Object.fromEntries(volumes.map((path) => [path, {}])) }),
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest, contentDigest = digest }) => contentDigest) },
    history: layers.map((layer) => ({ created: noTime, created_by: `ferry: ${layerText(layer)}` })),
  } satisfies ImageConfig);
  const manifest = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: digestOf(config), size: config.byteLength },
    layers: layers.map(({ digest, sizeBytes, mediaType = mediaTypes.layer }) => ({
      mediaType,
      digest,
      size: sizeBytes,
    })),
    annotations: labels,
  });
  return { config, manifest };
}

/** Docker's own addition to the config; others ignore it. Durations are in nanoseconds. */
const healthCheck = {
  Test: [
    'CMD',
    nodePath,
    '-e',
    `const { env } = process;
const secure = env.MODELFERRY_TLS_KEY_FILE && !env.MODELFERRY_HEALTH_PORT;
const port = env.MODELFERRY_HEALTH_PORT ?? env.MODELFERRY_PORT ?? ${scoringPort};
require(secure ? 'https' : 'http')
  .get({ host: '127.0.0.1', port, rejectUnauthorized: false }, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1))
  .on('error', () => process.exit(1));`,
  ],
  Timeout: 10e9,
  StartPeriod: 60e9,
  Retries: 3,
} as const;

function labelsOf(name: string, layers: readonly ImageLayer[]): Record<string, string> {
  const models = layers.filter(({ kind }) => kind === 'model').flatMap(({ model }) => model ?? []);
  return {
    'org.opencontainers.image.title': name,
    'org.opencontainers.image.description':
      models.length > 0 ? `Scoring image of ${models.join(', ')}` : 'Scoring image',
  };
}

/** Labels are asked for in any order, and written in one. */
function sorted(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Gives the annotations that all platforms have in common; each has the digest of its own base. */
function sharedAnnotations(parts: readonly PlatformParts[]): Record<string, string> {
  const [first, ...more] = parts.map(({ annotations }) => annotations);
  return Object.fromEntries(
    Object.entries(first ?? {}).filter(([key, value]) => more.every((other) => other[key] === value)),
  );
}

/** Adds the variables that every image sets to those of its base and flavor; of one name the last one counts. */
function mergeEnvironment(before: readonly string[]): string[] {
  const all = [...before, 'NODE_ENV=production', 'HOME=/tmp', doNotTrack, ...serverEnvironment];
  return [...new Map(all.map((variable) => [nameOf(variable), variable])).values()];
}

/** ONNX Runtime would send telemetry to its maker otherwise. */
const doNotTrack = 'ORT_DISABLE_TELEMETRY=1';

function nameOf(variable: string): string {
  return variable.split('=', 1)[0] ?? '';
}

function layerText({ kind, model }: ImageLayer): string {
  return model === undefined ? kind : `${kind} ${model}`;
}
