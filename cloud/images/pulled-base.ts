import { FerryError } from '../../shared/errors.ts';
import { copyImage } from '../../shared/oci/copy-image.ts';
import { type ImageConfig, imageConfigSchema } from '../../shared/oci/image-config.ts';
import { layoutPlace } from '../../shared/oci/layout-place.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import { formatReference, parseReference } from '../../shared/oci/reference.ts';
import { registryPlace } from '../../shared/oci/registry-place.ts';
import { baseProblems } from './base-content.ts';
import type { ImageLayer } from './image.ts';
import { type ImagePlatform, platformText } from './platform.ts';
import { openRegistry } from '../workspace/registry.ts';
import type { Component } from './sbom.ts';

/** The oldest Node that the scoring server runs on. */
const nodeMajorMin = 24;

/** What an image is built upon. */
export interface Base {
  readonly layers: readonly ImageLayer[];
  /** Variables that it sets, as `NAME=value`. */
  readonly environment: readonly string[];
  /** What is said of it in the image. */
  readonly annotations: Readonly<Record<string, string>>;
  readonly components: readonly Component[];
  /** Bytes of its layers that were not in the workspace before. */
  readonly bytesBuilt: number;
}

/** What base is pulled, and where to. */
export interface PullBaseRequest {
  readonly layout: LayoutStore;
  /** `node:26-slim`, `registry.example/base@sha256:…` */
  readonly reference: string;
  readonly platform: ImagePlatform;
  /** Where what was found in bases is kept. */
  readonly cacheFolder: string;
  readonly signal?: AbortSignal;
}

/**
 * Pulls an image to build upon from its registry; what of it is in the workspace already is not pulled again. It must be a Linux with glibc
 * and have Node at `/usr/local/bin/node`, as the official `node` images do.
 * @throws {FerryError} NAME_INVALID when the reference names no image
 * @throws {FerryError} IMAGE_NOT_FOUND when its registry has no such image
 * @throws {FerryError} PLATFORM_UNSUPPORTED when it is not there for the platform
 * @throws {FerryError} IMAGE_INVALID when its Node is too old or not there, or it has no glibc
 */
export async function pullBase({ layout, reference, platform, cacheFolder, signal }: PullBaseRequest): Promise<Base> {
  const { host, repository, tag, digest } = parseReference(reference);
  const here = `bases/${repository}`;
  const { digest: pulled, movedBytes } = await copyImage({
    from: { place: registryPlace(openRegistry(host)), repository, reference: digest ?? tag ?? 'latest' },
    to: { place: layoutPlace(layout), repository: here },
    platform: { os: platform.os, architecture: platform.architecture },
    ...(signal && { signal }),
  });
  const document = await layout.readManifest(here, pulled);
  if (document?.kind !== 'manifest') throw new Error('What was copied for one platform is a manifest');
  const { layers, config: configDescriptor } = document.manifest;
  const config = imageConfigSchema.parse(
    JSON.parse(Buffer.from(await layout.readBlob(configDescriptor.digest)).toString()),
  );
  checkBase(reference, config, { platform, layers: layers.length });
  const baseLayers = layers.map(({ digest, size, mediaType }, at) => ({
    kind: 'base' as const,
    digest,
    sizeBytes: size,
    mediaType,
    contentDigest: config.rootfs.diff_ids[at] ?? digest,
  }));
  refuse(reference, await baseProblems(layout, baseLayers, { cacheFolder, ...(signal && { signal }) }));
  return {
    layers: baseLayers,
    environment: config.config?.Env ?? [],
    // OCI image-spec 1.1, annotations.md: what was built upon.
    annotations: {
      'org.opencontainers.image.base.name': formatReference({
        host,
        repository,
        ...(tag === undefined ? {} : { tag }),
      }),
      'org.opencontainers.image.base.digest': pulled,
    },
    components: [{ type: 'container', name: `${host}/${repository}`, version: pulled }],
    bytesBuilt: movedBytes,
  };
}

function checkBase(
  reference: string,
  config: ImageConfig,
  wanted: { readonly platform: ImagePlatform; readonly layers: number },
): void {
  const { platform, layers } = wanted;
  if (config.os !== platform.os || config.architecture !== platform.architecture) {
    throw new FerryError(
      'PLATFORM_UNSUPPORTED',
      `Cannot build upon "${reference}": it is for ${config.os}/${config.architecture}, ${platformText(platform)} was wanted`,
    );
  }
  const problems: string[] = [];
  if (config.rootfs.diff_ids.length !== layers) {
    problems.push(`it has ${layers} layers and ${config.rootfs.diff_ids.length} digests of their content`);
  }
  // The official images of Node say which one they have; of others nothing is known.
  const version = config.config?.Env?.find((variable) => variable.startsWith('NODE_VERSION='))?.slice(
    'NODE_VERSION='.length,
  );
  if (version !== undefined && Number.parseInt(version, 10) < nodeMajorMin) {
    problems.push(`its Node is ${version}, ${nodeMajorMin} or later was wanted`);
  }
  refuse(reference, problems);
}

function refuse(reference: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new FerryError('IMAGE_INVALID', `Cannot build upon "${reference}": ${problems.join('; ')}`, {
    next: 'Take an image of Node on Debian or Ubuntu, such as `node:26-slim`, or leave --base out.',
  });
}
