import { join } from 'node:path';
import { type Digest, digestOf } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import type { Pairs } from '../models/labels.ts';
import type { Model } from '../models/model.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { hostBase } from './base-layer.ts';
import { engine } from './engine-layer.ts';
import type { FlavorTraits } from './flavor.ts';
import type { ImageLayer, LayerKind } from './image.ts';
import type { PlatformParts } from './image-document.ts';
import { LayerCache, type LayerContent, type StoredLayer } from './layer-cache.ts';
import { optimizedLayer } from './optimized-layer.ts';
import { type ImagePlatform, platformText } from './platform.ts';
import { type Base, pullBase } from './pulled-base.ts';
import type { Component, PlacedComponent } from './sbom.ts';

/** Where an image's layers come from and go to. */
export interface LayerSources {
  readonly workspace: Workspace;
  readonly layout: LayoutStore;
  readonly models: readonly Model[];
  /** Reference of an image to build upon. @default this machine is made the base */
  readonly base?: string;
  /** The topmost layer, the same for every platform. */
  readonly app: StoredLayer;
  readonly flavor: FlavorTraits;
  readonly labels: Pairs;
  /** Whether the graphs of the models are optimised too. */
  readonly optimize: boolean;
  readonly signal?: AbortSignal;
}

/** The parts of an image for one platform, and how much was packed for them. */
export interface MadeParts {
  readonly parts: PlatformParts;
  readonly components: readonly PlacedComponent[];
  /** Which models could not be optimised, and why, a line each. */
  readonly warnings: readonly string[];
  /** Bytes of the layers that were not in the workspace before. */
  readonly bytesBuilt: number;
}

/** Makes the layers of an image for a platform, or finds them where they were made before; refers to those of the models. */
export async function makeLayers(sources: LayerSources, platform: ImagePlatform): Promise<MadeParts> {
  const { workspace, layout, models, app, flavor, labels, signal } = sources;
  const cache = new LayerCache(join(workspace.folder, 'cache', 'layers'), layout);
  const cached = (kind: string, make: () => Promise<LayerContent>): Promise<StoredLayer> =>
    cache.layer({
      key: [kind, platformText(platform), process.execPath, import.meta.url],
      make,
      ...(signal && { signal }),
    });
  const base =
    sources.base === undefined
      ? hostBaseParts(await cached('base', () => hostBase(platform, signal)))
      : await pullBase({ layout, reference: sources.base, platform, ...(signal && { signal }) });
  const server = await cached('engine', () => engine(platform));
  const optimized = sources.optimize
    ? await optimizeAll(sources, { platform, cache })
    : { layers: [], warnings: [], bytesBuilt: 0 };
  return {
    parts: {
      platform,
      layers: [
        ...base.layers,
        { kind: 'engine', digest: server.digest, sizeBytes: server.sizeBytes },
        ...(await Promise.all(models.map((model) => modelLayer(layout, model)))),
        ...optimized.layers,
        { kind: 'app', digest: app.digest, sizeBytes: app.sizeBytes },
      ],
      environment: [...base.environment, ...flavor.environment],
      volumes: flavor.volumes,
      healthIntervalSeconds: flavor.healthIntervalSeconds,
      annotations: { ...labels, ...base.annotations },
    },
    components: [...inLayer('base', base.components), ...inLayer('engine', server.components)],
    warnings: optimized.warnings,
    bytesBuilt: base.bytesBuilt + (server.made ? server.sizeBytes : 0) + optimized.bytesBuilt,
  };
}

/** Makes or finds the layers of the models' optimised graphs. */
async function optimizeAll(
  { workspace, models, signal }: LayerSources,
  { platform, cache }: { readonly platform: ImagePlatform; readonly cache: LayerCache },
): Promise<{
  readonly layers: readonly ImageLayer[];
  readonly warnings: readonly string[];
  readonly bytesBuilt: number;
}> {
  const layers: ImageLayer[] = [];
  const warnings: string[] = [];
  let bytesBuilt = 0;
  for (const model of models) {
    const id = `${model.name}:${model.version}`;
    const layer = await optimizedLayer(model, { workspace, cache, platform, ...(signal && { signal }) });
    if ('refused' in layer) {
      warnings.push(`${id} is not optimised for ${platformText(platform)}, the original is served: ${layer.refused}`);
    } else {
      const { digest, sizeBytes, made } = layer;
      layers.push({ kind: 'optimized', digest, sizeBytes, model: id });
      bytesBuilt += made ? sizeBytes : 0;
    }
  }
  return { layers, warnings, bytesBuilt };
}

/** Says which layer components are in. */
export function inLayer(layer: LayerKind, components: readonly Component[]): readonly PlacedComponent[] {
  return components.map((component) => ({ ...component, layer }));
}

function hostBaseParts({ digest, sizeBytes, components, made }: StoredLayer): Base {
  return {
    layers: [{ kind: 'base', digest, sizeBytes }],
    environment: ['PATH=/usr/local/bin'],
    annotations: {},
    components,
    bytesBuilt: made ? sizeBytes : 0,
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

/** Stores bytes that are in memory, where they are not there already. */
export async function putSmallBlob(
  layout: LayoutStore,
  bytes: Uint8Array,
): Promise<{ digest: Digest; sizeBytes: number }> {
  const expected = { digest: digestOf(bytes), size: bytes.byteLength };
  await layout.putBlob(bytes, { expected });
  return { digest: expected.digest, sizeBytes: expected.size };
}
