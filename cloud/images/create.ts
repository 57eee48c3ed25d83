import { type Clock, systemClock } from '../../shared/clock.ts';
import { type Digest, digestOf } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import { imageNameProblem, type VersionedName } from '../../shared/model/name.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { labelProblems, type Pairs } from '../models/labels.ts';
import { findModel, type Model } from '../models/model.ts';
import { addVersion } from '../workspace/new-version.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { type Image, type ImageLayer, imagesWithLayer, insertImage, latestImage } from './image.ts';
import { type ImageDocuments, imageDocuments, type PlatformParts } from './image-document.ts';
import { type LayerSources, type MadeParts, makeLayers, putSmallBlob } from './layers.ts';
import { parsePlatforms, platformText } from './platform.ts';
import type { Optimization } from './optimized-layer.ts';
import { Publisher, type PushOptions, type PushResult } from './publish.ts';
import { dropImage } from './remove.ts';
import { type SbomArtifact, sbomArtifact } from './sbom.ts';

/** What an image is built of. */
export interface ImageRequest {
  /** At least one; their order does not matter. */
  readonly models: readonly VersionedName[];
  /** @default the model's name, where there is one model only */
  readonly name?: string;
  /** `linux/amd64` or `linux/arm64`, or both with `,` between. @default this machine's */
  readonly platform?: string;
  /** Reference of an image to build upon. @default this machine's Node and libraries */
  readonly base?: string;
  /** Whether the graphs of the models are optimised once, here. @default false */
  readonly optimize?: boolean;
  readonly description?: string;
  readonly tags?: Pairs;
}

/** The settings of {@link createImage}. */
export interface CreateOptions extends PushOptions {
  readonly clock?: Clock;
}

/** What came of building an image. */
export interface CreatedImage {
  readonly image: Image;
  /** Whether it is a new version; else the latest version had this very content already. */
  readonly created: boolean;
  /** Bytes of the layers that were packed for it; the others were in the workspace already. */
  readonly bytesBuilt: number;
  /** What came of optimising the models; none where that was not asked for. */
  readonly optimizations: readonly Optimization[];
  /** Absent where the workspace has no registry. */
  readonly push: PushResult | undefined;
}

/**
 * Builds a scoring image from registered models, pushes it where the workspace has a registry, and makes it the next version of its
 * name; when the latest version has the same content, that stays the latest and is given back. No model byte is read or copied.
 * @throws {FerryError} NAME_INVALID or TAG_INVALID naming everything that is outside of the rules
 * @throws {FerryError} MODEL_NOT_FOUND when a model is not registered
 * @throws {FerryError} IMAGE_INVALID when two versions of one model were asked for
 * @throws {FerryError} PLATFORM_UNSUPPORTED when an image cannot be built for a platform here, or upon this base
 * @throws {FerryError} IMAGE_NOT_FOUND when the base is not in its registry
 * @throws {FerryError} DISK_FULL when there is no room for it
 * @throws {FerryError} REGISTRY_UNREACHABLE, REGISTRY_REFUSED or TIMEOUT when it cannot be pushed; there is no new version then
 */
export async function createImage(
  workspace: Workspace,
  request: ImageRequest,
  options: CreateOptions = {},
): Promise<CreatedImage> {
  const { description = '', tags = {} } = request;
  const name = checkRequest(request);
  const platforms = parsePlatforms(request.platform);
  const models = findModels(workspace, request.models);
  const layout = await LayoutStore.open(workspace.layoutFolder);
  const sources: LayerSources = {
    workspace,
    layout,
    models,
    ...(request.base !== undefined && { base: request.base }),
    optimize: request.optimize ?? false,
    ...(options.signal && { signal: options.signal }),
  };
  const made: MadeParts[] = [];
  for (const platform of platforms) made.push(await makeLayers(sources, platform));

  const documents = imageDocuments(
    name,
    made.map(({ parts }) => parts),
  );
  const sbom = sbomArtifact({
    name,
    models,
    components: made.flatMap(({ components }) => components),
    descriptor: {
      mediaType: documents.root.mediaType,
      digest: documents.digest,
      size: documents.root.bytes.byteLength,
    },
  });
  const createdAt = new Date((options.clock ?? systemClock).nowMs()).toISOString();
  const image = {
    name,
    digest: documents.digest,
    sbom: digestOf(sbom.manifest),
    platform: platforms.map(platformText).join(','),
    layers: made.flatMap(({ parts }) => layersOf(parts, platforms.length > 1)),
    models: models.map(({ name, version }) => `${name}:${version}`),
    description,
    tags,
    properties: {},
    createdAt,
    modifiedAt: createdAt,
  };
  const bytesBuilt = made.reduce((sum, { bytesBuilt }) => sum + bytesBuilt, 0);
  const added = await addImage({ workspace, layout, models }, { image, documents, sbom }, options);
  return { ...added, bytesBuilt, optimizations: made.flatMap(({ optimizations }) => optimizations) };
}

function layersOf({ layers, platform }: PlatformParts, several: boolean): readonly ImageLayer[] {
  return several ? layers.map((layer) => ({ ...layer, platform: platformText(platform) })) : layers;
}

/** An image that is not yet kept. */
interface NewImage {
  readonly image: Omit<Image, 'version'>;
  readonly documents: ImageDocuments;
  readonly sbom: SbomArtifact;
}

/** Keeps an image and pushes it, as a new version where the latest one is not the same. When that fails, all is as it was. */
async function addImage(
  { workspace, layout, models }: Pick<LayerSources, 'workspace' | 'layout' | 'models'>,
  { image, documents, sbom }: NewImage,
  options: CreateOptions,
): Promise<Omit<CreatedImage, 'bytesBuilt' | 'optimizations'>> {
  const { name, digest } = image;
  const { database, config } = workspace;
  const { registry } = config.endpoints;
  const publisher = registry === undefined ? undefined : new Publisher(layout, registry);
  const { root } = documents;
  const wasThere = (await layout.resolve(name, digest)) !== undefined;
  for (const bytes of [...documents.configs, ...sbom.blobs]) await putSmallBlob(layout, bytes);
  const sbomManifest = { bytes: sbom.manifest, mediaType: mediaTypes.manifest };
  for (const { bytes, mediaType } of [...documents.manifests, root, sbomManifest]) {
    await layout.putManifest(name, undefined, bytes, mediaType);
  }
  try {
    const relatives = (layer: Digest): readonly string[] => imagesWithLayer(database, layer, name);
    const push = await publisher?.push({ name, digest, sbom: image.sbom, models, relatives }, options);
    const latest = latestImage(database, name);
    if (latest?.digest === digest) return { image: latest, created: false, push };
    const version = await addVersion(workspace, {
      kind: 'image',
      name,
      ...(options.signal && { signal: options.signal }),
      prepare: async (version) => {
        await layout.putManifest(name, String(version), root.bytes, root.mediaType);
        await publisher?.tag(name, String(version), root, options.signal);
      },
      insert: (version) => insertImage(database, { ...image, version }, models),
    });
    return { image: { ...image, version }, created: true, push };
  } catch (error) {
    if (!wasThere) await dropImage(workspace, layout, image);
    throw error;
  }
}

/** Checks what was asked for, and gives the image's name. */
function checkRequest(request: ImageRequest): string {
  const [first, ...more] = request.models;
  if (first === undefined)
    throw new FerryError('USAGE', 'Cannot build an image: no model was given, at least one was wanted');
  if (request.name === undefined && more.length > 0) {
    throw new FerryError('USAGE', 'Cannot build an image: it has several models and no name', { next: 'Add --name.' });
  }
  const name = request.name ?? first.name;
  const nameProblem = imageNameProblem(name);
  const { tags = {}, description = '' } = request;
  const tagProblems = labelProblems({ tags, description });
  if (nameProblem === undefined && tagProblems.length === 0) return name;
  const all = [...(nameProblem === undefined ? [] : [nameProblem]), ...tagProblems].join('; ');
  throw new FerryError(nameProblem === undefined ? 'TAG_INVALID' : 'NAME_INVALID', `Cannot build the image: ${all}`);
}

/** Finds the models, in an order that does not depend on the one they were asked for in. */
function findModels(workspace: Workspace, wanted: readonly VersionedName[]): readonly Model[] {
  const found = new Map<string, Model>();
  for (const model of wanted.map((name) => findModel(workspace.database, name))) {
    const before = found.get(model.name);
    if (before !== undefined && before.version !== model.version) {
      throw new FerryError(
        'IMAGE_INVALID',
        `Cannot build an image of "${model.name}" in versions ${before.version} and ${model.version}: they have the same path, one version was wanted`,
      );
    }
    found.set(model.name, model);
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
