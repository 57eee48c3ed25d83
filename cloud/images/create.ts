import { join } from 'node:path';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { type Digest, digestOf } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import { imageNameProblem, type VersionedName } from '../../shared/model/name.ts';
import { type ServiceConfig, serviceConfigPath, serviceConfigSchema } from '../../shared/model/service-config.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { tarLayer } from '../../shared/oci/tar-layer.ts';
import { findModel, type Model } from '../models/model.ts';
import { labelProblems, type Pairs } from '../models/labels.ts';
import { addVersion } from '../workspace/new-version.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { hostBase } from './base-layer.ts';
import { engine } from './engine-layer.ts';
import { type Image, type ImageLayer, imagesWithLayer, insertImage, latestImage } from './image.ts';
import { type ImageDocuments, imageDocuments } from './image-document.ts';
import { LayerCache, type LayerContent, type StoredLayer } from './layer-cache.ts';
import { type ImagePlatform, parsePlatform, platformText } from './platform.ts';
import { Publisher, type PushOptions, type PushResult } from './publish.ts';

/** What an image is built of. */
export interface ImageRequest {
  /** At least one; their order does not matter. */
  readonly models: readonly VersionedName[];
  /** @default the model's name, where there is one model only */
  readonly name?: string;
  /** `linux/amd64` or `linux/arm64`. @default this machine's */
  readonly platform?: string;
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
  /** Absent where the workspace has no registry. */
  readonly push: PushResult | undefined;
}

/**
 * Builds a scoring image from registered models, pushes it where the workspace has a registry, and makes it the next version of its
 * name; when the latest version has the same content, that stays the latest and is given back. No model byte is read or copied.
 * @throws {FerryError} NAME_INVALID or TAG_INVALID naming everything that is outside of the rules
 * @throws {FerryError} MODEL_NOT_FOUND when a model is not registered
 * @throws {FerryError} IMAGE_INVALID when two versions of one model were asked for
 * @throws {FerryError} PLATFORM_UNSUPPORTED when an image cannot be built for the platform here
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
  const platform = parsePlatform(request.platform);
  const models = findModels(workspace, request.models);
  const layout = await LayoutStore.open(workspace.layoutFolder);

  const { layers, bytesBuilt } = await makeLayers({ workspace, layout, platform, models }, options.signal);
  const documents = imageDocuments({ name, platform, layers });
  const createdAt = new Date((options.clock ?? systemClock).nowMs()).toISOString();
  const image = {
    name,
    digest: documents.digest,
    platform: platformText(platform),
    layers,
    models: models.map(({ name, version }) => `${name}:${version}`),
    description,
    tags,
    properties: {},
    createdAt,
    modifiedAt: createdAt,
  };
  return { ...(await addImage({ workspace, layout, models }, { image, documents }, options)), bytesBuilt };
}

/** Keeps an image and pushes it, as a new version where the latest one is not the same. When that fails, all is as it was. */
async function addImage(
  { workspace, layout, models }: Pick<Bench, 'workspace' | 'layout' | 'models'>,
  { image, documents }: { readonly image: Omit<Image, 'version'>; readonly documents: ImageDocuments },
  options: CreateOptions,
): Promise<Omit<CreatedImage, 'bytesBuilt'>> {
  const { name, digest } = image;
  const { database, config } = workspace;
  const { registry } = config.endpoints;
  const publisher = registry === undefined ? undefined : new Publisher(layout, registry);
  const wasThere = (await layout.resolve(name, digest)) !== undefined;
  const { config: configBytes, manifest } = documents;
  await putSmallBlob(layout, configBytes);
  await layout.putManifest(name, undefined, manifest, mediaTypes.manifest);
  try {
    const relatives = (layer: Digest): readonly string[] => imagesWithLayer(database, layer, name);
    const push = await publisher?.push({ name, digest, models, relatives }, options);
    const latest = latestImage(database, name);
    if (latest?.digest === digest) return { image: latest, created: false, push };
    const version = await addVersion(workspace, {
      kind: 'image',
      name,
      ...(options.signal && { signal: options.signal }),
      prepare: async (version) => {
        await layout.putManifest(name, String(version), manifest, mediaTypes.manifest);
        await publisher?.tag(name, String(version), manifest, options.signal);
      },
      insert: (version) => insertImage(database, { ...image, version }, models),
    });
    return { image: { ...image, version }, created: true, push };
  } catch (error) {
    if (!wasThere) await layout.removeManifest(name, digest);
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

/** Where an image's layers come from and go to. */
interface Bench {
  readonly workspace: Workspace;
  readonly layout: LayoutStore;
  readonly platform: ImagePlatform;
  readonly models: readonly Model[];
}

async function makeLayers(
  bench: Bench,
  signal: AbortSignal | undefined,
): Promise<{ readonly layers: readonly ImageLayer[]; readonly bytesBuilt: number }> {
  const { workspace, layout, platform, models } = bench;
  const cache = new LayerCache(join(workspace.folder, 'cache', 'layers'), layout);
  const cached = (kind: string, make: () => Promise<LayerContent>): Promise<StoredLayer> =>
    cache.layer({
      key: [kind, platformText(platform), process.execPath, import.meta.url],
      make,
      ...(signal && { signal }),
    });
  const base = await cached('base', () => hostBase(platform, signal));
  const server = await cached('engine', () => engine(platform));
  const app = await storeApp(layout, models);
  return {
    layers: [
      { kind: 'base', digest: base.digest, sizeBytes: base.sizeBytes },
      { kind: 'engine', digest: server.digest, sizeBytes: server.sizeBytes },
      ...(await Promise.all(models.map((model) => modelLayer(layout, model)))),
      { kind: 'app', digest: app.digest, sizeBytes: app.sizeBytes },
    ],
    bytesBuilt: [base, server, app].reduce((sum, layer) => sum + (layer.made ? layer.sizeBytes : 0), 0),
  };
}

/** Refers to the layer that the model was registered as. */
async function modelLayer(layout: LayoutStore, { name, version, digest }: Model): Promise<ImageLayer> {
  const sizeBytes = await layout.blobSize(digest);
  if (sizeBytes !== undefined) return { kind: 'model', digest, sizeBytes, model: `${name}:${version}` };
  throw new FerryError(
    'WORKSPACE_CORRUPT',
    `Cannot use the model "${name}:${version}": its layer "${digest}" is missing in "${layout.folder}"`,
    { next: 'Register its file again.' },
  );
}

/** Stores the topmost layer: what the scoring server is to serve. */
async function storeApp(layout: LayoutStore, models: readonly Model[]): Promise<StoredLayer> {
  const config: ServiceConfig = serviceConfigSchema.parse({
    schemaVersion: 1,
    models: models.map(({ name, version, format, mainPath, signature }) => ({
      name,
      version,
      format,
      path: mainPath,
      signature,
    })),
  });
  const content = Buffer.from(`${JSON.stringify(config, undefined, 2)}\n`);
  const pieces: Uint8Array[] = [];
  for await (const piece of tarLayer([{ kind: 'file', path: serviceConfigPath, content }])) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  const made = !(await layout.hasBlob(digestOf(bytes)));
  return { ...(await putSmallBlob(layout, bytes)), made };
}

/** Stores bytes that are in memory, where they are not there already. */
async function putSmallBlob(layout: LayoutStore, bytes: Uint8Array): Promise<{ digest: Digest; sizeBytes: number }> {
  const expected = { digest: digestOf(bytes), size: bytes.byteLength };
  await layout.putBlob(bytes, { expected });
  return { digest: expected.digest, sizeBytes: expected.size };
}
