import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { z } from 'zod';
import { type OptimizedGraph, optimizedPaths } from '../../shared/model/optimized-graph.ts';
import { processorKind } from '../../shared/model/processor.ts';
import { digestOf } from '../../shared/digest.ts';
import type { LayerEntry } from '../../shared/oci/tar-layer.ts';
import { downloadModel } from '../models/download.ts';
import type { Model } from '../models/model.ts';
import { optimizeGraph } from '../models/optimize.ts';
import { openScratch } from '../workspace/scratch.ts';
import type { Workspace } from '../workspace/workspace.ts';
import type { LayerCache, LayerContent, StoredLayer } from './layer-cache.ts';
import type { ImagePlatform } from './platform.ts';

/** What optimising a model needs beside it. */
export interface OptimizeOptions {
  readonly workspace: Workspace;
  readonly cache: LayerCache;
  readonly platform: ImagePlatform;
  readonly signal?: AbortSignal;
}

/**
 * Makes the layer that holds a model's optimised graph, to lie beside the original, or finds it where it was made before: it is kept by the
 * model's digest, its sample, the version of the runtime and the kind of processor. It counts only when it was run here.
 * @returns why it is not to be used, where that is so
 */
export async function optimizedLayer(
  model: Model,
  { workspace, cache, platform, signal }: OptimizeOptions,
): Promise<StoredLayer | { readonly refused: string }> {
  if (platform.os !== process.platform || platform.nodeArchitecture !== process.arch) {
    return { refused: 'it can be run on a machine of this platform only' };
  }
  const places = Object.values(optimizedPaths(model.mainPath));
  const taken = model.files.find(({ path }) => places.includes(`/models/${model.name}/${path}`));
  if (taken !== undefined) return { refused: `the model has a file "${taken.path}" of its own` };
  const made: OptimizedGraph = { runtime: runtimeVersion(), processor: processorKind() };
  await using scratch = await openScratch(workspace);
  const make = async (): Promise<LayerContent> => ({
    entries: await optimizedEntries(model, { workspace, scratch: scratch.path, made, ...(signal && { signal }) }),
    inputs: [],
    components: [],
  });
  const key = ['optimized', model.digest, digestOf(JSON.stringify(model.sample)), made.runtime, made.processor];
  try {
    return await cache.layer({ key, make, ...(signal && { signal }) });
  } catch (error) {
    if (error instanceof Refusal) return { refused: error.message };
    throw error;
  }
}

/** Says why an optimised graph is not to be used. */
class Refusal extends Error {
  override readonly name = 'Refusal';
}

interface MakeOptions {
  readonly workspace: Workspace;
  readonly scratch: string;
  readonly made: OptimizedGraph;
  readonly signal?: AbortSignal;
}

/** Optimises the graph of a model that is in the workspace. */
async function optimizedEntries(model: Model, options: MakeOptions): Promise<readonly LayerEntry[]> {
  const { workspace, scratch, made, signal } = options;
  const target = join(scratch, model.name);
  await downloadModel(workspace, model, { target, ...(signal && { signal }) });
  const { graph, description } = optimizedPaths(model.mainPath);
  const placed = (path: string): string => join(target, path.slice(`/models/${model.name}/`.length));
  const files = { file: placed(model.mainPath), target: placed(graph) };
  const optimized = await optimizeGraph(model, { ...files, ...(signal && { signal }) });
  if ('refused' in optimized) throw new Refusal(optimized.refused);
  const content = { file: files.target, size: statSync(files.target).size };
  return [
    { kind: 'file', path: graph, content },
    { kind: 'file', path: description, content: Buffer.from(JSON.stringify(made)) },
  ];
}

/** Gives the version of the runtime that goes into images. */
function runtimeVersion(): string {
  const path = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  return z.looseObject({ version: z.string() }).parse(JSON.parse(readFileSync(path, 'utf8'))).version;
}
