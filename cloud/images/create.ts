import { basename } from 'node:path';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { digestOf } from '../../shared/digest.ts';
import { inParallel } from '../../shared/in-parallel.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { updateLabels } from '../models/label-store.ts';
import { addVersion } from '../workspace/new-version.ts';
import { workspaceRegistry } from '../workspace/registry.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { appLayer } from './app-layer.ts';
import { checkAccelerable } from './check-accelerable.ts';
import { flavorLabel, flavorTraits } from './flavor.ts';
import { findImage, type Image, type ImageLayer, imagesWithLayer, insertImage, latestImage } from './image.ts';
import { type ImageDocuments, imageDocuments, type PlatformParts } from './image-document.ts';
import { checkRequest, findModels, type ImageRequest } from './image-request.ts';
import { inLayer, type LayerSources, type MadeParts, makeLayers, putSmallBlob } from './layers.ts';
import { parsePlatforms, platformText } from './platform.ts';
import { type ModelPush, type PublishedImage, Publisher, type PushOptions, type PushResult } from './publish.ts';
import { dropImage } from './remove.ts';
import { type SbomArtifact, sbomArtifact } from './sbom.ts';
import { scriptContent } from './script/script-content.ts';

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
  /** What whoever asked for it should know, a line each: of its script, and of models that could not be optimised. */
  readonly warnings: readonly string[];
  /** Absent where the workspace has no registry. */
  readonly push: PushResult | undefined;
}

/**
 * Builds a scoring image from registered models, pushes it where the workspace has a registry, and makes it the next version of its
 * name; when the latest version has the same content, that stays the latest, gets the tags, properties and description that were asked for, and
 * is given back. No model byte is read or copied.
 * @throws {FerryError} NAME_INVALID or TAG_INVALID naming everything that is outside of the rules
 * @throws {FerryError} MODEL_NOT_FOUND when a model is not registered
 * @throws {FerryError} IMAGE_INVALID when two versions of one model were asked for
 * @throws {FerryError} PLATFORM_UNSUPPORTED when an image cannot be built for a platform here, or upon this base
 * @throws {FerryError} SCRIPT_INVALID or FILE_NOT_FOUND when the script cannot be used, with the line
 * @throws {FerryError} MODEL_INVALID when a model does not go with the flavor
 * @throws {FerryError} IMAGE_NOT_FOUND when the base is not in its registry
 * @throws {FerryError} DISK_FULL when there is no room for it
 * @throws {FerryError} REGISTRY_UNREACHABLE, REGISTRY_REFUSED or TIMEOUT when it cannot be pushed; there is no new version then
 */
export async function createImage(
  workspace: Workspace,
  request: ImageRequest,
  options: CreateOptions = {},
): Promise<CreatedImage> {
  const name = checkRequest(request);
  const { flavor = 'web', script: scriptFile, include = [] } = request;
  const { signal } = options;
  const platforms = parsePlatforms(request.platform);
  const models = findModels(workspace.database, request.models);
  const traits = flavorTraits(flavor);
  const layout = await LayoutStore.open(workspace.layoutFolder);
  if (flavor === 'fpga') await checkAccelerable(layout, models);
  const script = scriptFile === undefined ? undefined : await scriptContent({ path: scriptFile, include });
  const registry = workspaceRegistry(workspace);
  const publisher = registry && new Publisher(layout, registry);
  // That goes on while the image is built.
  await using pushingModels = publisher?.beginModels(models, options);
  const app = await appLayer(layout, { models, script, entries: traits.entries }, signal);
  const sources: LayerSources = {
    workspace,
    layout,
    models,
    app,
    flavor: traits,
    labels: { ...request.labels, [flavorLabel]: flavor },
    optimize: request.optimize ?? false,
    ...(request.base !== undefined && { base: request.base }),
    ...(signal && { signal }),
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
    components: [...made.flatMap(({ components }) => components), ...inLayer('app', app.components)],
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
    flavor,
    script: scriptFile === undefined ? null : basename(scriptFile),
    layers: made.flatMap(({ parts }) => layersOf(parts, platforms.length > 1)),
    models: models.map(({ name, version }) => `${name}:${version}`),
    description: request.description ?? '',
    tags: request.tags ?? {},
    properties: request.properties ?? {},
    createdAt,
    modifiedAt: createdAt,
  };
  const pushing = publisher && pushingModels && { publisher, models: pushingModels };
  const added = await addImage({ workspace, layout, models, pushing }, { image, documents, sbom, request }, options);
  const bytesBuilt = made.reduce((sum, { bytesBuilt }) => sum + bytesBuilt, app.made ? app.sizeBytes : 0);
  return { ...added, bytesBuilt, warnings: [...(script?.warnings ?? []), ...made.flatMap(({ warnings }) => warnings)] };
}

function layersOf({ layers, platform }: PlatformParts, several: boolean): readonly ImageLayer[] {
  return several ? layers.map((layer) => ({ ...layer, platform: platformText(platform) })) : layers;
}

/** An image that is not yet kept. */
interface NewImage {
  readonly image: Omit<Image, 'version'>;
  readonly documents: ImageDocuments;
  readonly sbom: SbomArtifact;
  readonly request: ImageRequest;
}

/** Where an image is kept, and where it is pushed to. */
interface ImagePlaces extends Pick<LayerSources, 'workspace' | 'layout' | 'models'> {
  /** The registry, and the models on their way there; undefined where the workspace has none. */
  readonly pushing: { readonly publisher: Publisher; readonly models: ModelPush } | undefined;
}

/** Keeps an image and pushes it, as a new version where the latest one is not the same. When that fails, all is as it was. */
async function addImage(
  { workspace, layout, models, pushing }: ImagePlaces,
  { image, documents, sbom, request }: NewImage,
  options: CreateOptions,
): Promise<Omit<CreatedImage, 'bytesBuilt' | 'warnings'>> {
  const { name, digest } = image;
  const { database } = workspace;
  const { root } = documents;
  const wasThere = (await layout.resolve(name, digest)) !== undefined;
  const { signal = new AbortController().signal } = options;
  // Each waits mostly for the disk to make sure of what it has.
  await inParallel([...documents.configs, ...sbom.blobs], { atOnce: 4, signal }, async (bytes) => {
    await putSmallBlob(layout, bytes);
  });
  const sbomManifest = { bytes: sbom.manifest, mediaType: mediaTypes.manifest };
  for (const { bytes, mediaType } of [...documents.manifests, root, sbomManifest]) {
    await layout.putManifest(name, undefined, bytes, mediaType);
  }
  try {
    const push = await pushImage(
      pushing,
      {
        name,
        digest,
        sbom: image.sbom,
        models,
        relatives: (layer) => imagesWithLayer(database, layer, name),
      },
      options,
    );
    const latest = latestImage(database, name);
    if (latest?.digest === digest) return { image: relabel(workspace, latest, request, options), created: false, push };
    const version = await addVersion(workspace, {
      kind: 'image',
      name,
      ...(options.signal && { signal: options.signal }),
      prepare: async (version) => {
        await layout.putManifest(name, String(version), root.bytes, root.mediaType);
        await pushing?.publisher.tag(name, String(version), root, options.signal);
      },
      insert: (version) => insertImage(database, { ...image, version }, models),
    });
    return { image: { ...image, version }, created: true, push };
  } catch (error) {
    if (!wasThere) await dropImage(workspace, layout, image);
    throw error;
  }
}

/** Pushes an image when its models are there. */
async function pushImage(
  pushing: ImagePlaces['pushing'],
  image: PublishedImage,
  options: PushOptions,
): Promise<PushResult | undefined> {
  if (pushing === undefined) return undefined;
  const ofModels = await pushing.models.finish();
  const { bytesPushed, ...rest } = await pushing.publisher.push(image, options);
  return { bytesPushed: bytesPushed + ofModels, ...rest };
}

/** Gives an image that is there already the labels that were asked for; what was not asked for stays. */
function relabel(
  { database }: Workspace,
  image: Image,
  request: ImageRequest,
  { clock = systemClock }: CreateOptions,
): Image {
  const { tags, properties, description } = request;
  if (tags === undefined && properties === undefined && description === undefined) return image;
  return updateLabels(database, {
    table: 'images',
    find: () => findImage(database, image),
    change: {
      ...(tags && { addTags: tags }),
      ...(properties && { addProperties: properties }),
      ...(description !== undefined && { description }),
    },
    clock,
  });
}
