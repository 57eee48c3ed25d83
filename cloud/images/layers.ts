import { join } from 'node:path';
import { type Digest, digestOf } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import {
  type OptimizedGraph,
  type ServiceConfig,
  serviceConfigPath,
  serviceConfigSchema,
} from '../../shared/model/service-config.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import { tarLayer } from '../../shared/oci/tar-layer.ts';
import type { Model } from '../models/model.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { hostBase } from './base-layer.ts';
import { engine } from './engine-layer.ts';
import type { ImageLayer } from './image.ts';
import type { PlatformParts } from './image-document.ts';
import { LayerCache, type LayerContent, type StoredLayer } from './layer-cache.ts';
import { type Optimization, optimizedLayer } from './optimized-layer.ts';
import { type ImagePlatform, platformText } from './platform.ts';
import { type Base, pullBase } from './pulled-base.ts';
import type { Component } from './sbom.ts';

/** Where an image's layers come from and go to. */
export interface LayerSources {
  readonly workspace: Workspace;
  readonly layout: LayoutStore;
  readonly models: readonly Model[];
  /** Reference of an image to build upon. @default this machine is made the base */
  readonly base?: string;
  /** Whether the graphs of the models are optimised too. @default false */
  readonly optimize?: boolean;
  readonly signal?: AbortSignal;
}

/** The parts of an image for one platform, and how much was packed for them. */
export interface MadeParts {
  readonly parts: PlatformParts;
  readonly components: readonly Component[];
  /** What came of optimising the models; none where that was not asked for. */
  readonly optimizations: readonly Optimization[];
  /** Bytes of the layers that were not in the workspace before. */
  readonly bytesBuilt: number;
}

/** Makes the layers of an image for a platform, or finds them where they were made before; refers to those of the models. */
export async function makeLayers(sources: LayerSources, platform: ImagePlatform): Promise<MadeParts> {
  const { workspace, layout, models, signal } = sources;
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
  const optimized = [];
  for (const model of sources.optimize === true ? models : []) {
    optimized.push(await optimizedLayer(model, { workspace, cache, platform, ...(signal && { signal }) }));
  }
  const graphs = optimized.flatMap(({ outcome, made }) =>
    made === undefined ? [] : { model: outcome.model, ...made },
  );
  const app = await storeApp(layout, models, new Map(graphs.map(({ model, graph }) => [model, graph])));
  const own = [server, app, ...graphs.map(({ layer }) => layer)].reduce(
    (sum, layer) => sum + (layer.made ? layer.sizeBytes : 0),
    0,
  );
  return {
    parts: {
      platform,
      layers: [
        ...base.layers,
        { kind: 'engine', digest: server.digest, sizeBytes: server.sizeBytes },
        ...(await Promise.all(models.map((model) => modelLayer(layout, model)))),
        ...graphs.map(({ model, layer: { digest, sizeBytes } }) => ({
          kind: 'optimized' as const,
          digest,
          sizeBytes,
          model,
        })),
        { kind: 'app', digest: app.digest, sizeBytes: app.sizeBytes },
      ],
      environment: base.environment,
      annotations: base.annotations,
    },
    components: [...base.components, ...server.components],
    optimizations: optimized.map(({ outcome }) => outcome),
    bytesBuilt: own + base.bytesBuilt,
  };
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

/** Stores the topmost layer: what the scoring server is to serve. */
async function storeApp(
  layout: LayoutStore,
  models: readonly Model[],
  graphs: ReadonlyMap<string, OptimizedGraph>,
): Promise<Omit<StoredLayer, 'components'>> {
  const config: ServiceConfig = serviceConfigSchema.parse({
    schemaVersion: 1,
    models: models.map(({ name, version, format, mainPath, signature }) => ({
      name,
      version,
      format,
      path: mainPath,
      signature,
      optimized: graphs.get(`${name}:${version}`),
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
export async function putSmallBlob(
  layout: LayoutStore,
  bytes: Uint8Array,
): Promise<{ digest: Digest; sizeBytes: number }> {
  const expected = { digest: digestOf(bytes), size: bytes.byteLength };
  await layout.putBlob(bytes, { expected });
  return { digest: expected.digest, sizeBytes: expected.size };
}
