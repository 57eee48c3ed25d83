import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { z } from 'zod';
import { processorKind } from '../../shared/model/processor.ts';
import type { OptimizedGraph } from '../../shared/model/service-config.ts';
import { digestOf } from '../../shared/digest.ts';
import { downloadModel } from '../models/download.ts';
import type { Model } from '../models/model.ts';
import { optimizeGraph } from '../models/optimize.ts';
import { openScratch } from '../workspace/scratch.ts';
import type { Workspace } from '../workspace/workspace.ts';
import type { LayerCache, StoredLayer } from './layer-cache.ts';
import { type ImagePlatform, platformText } from './platform.ts';

/** What came of optimising a model for an image. */
export interface Optimization {
  /** Id of the model. */
  readonly model: string;
  readonly platform: string;
  /** Why the image has the original alone; absent where it has the optimised graph too. */
  readonly refused?: string;
}

/** An optimised graph in a layer. */
export interface OptimizedLayer {
  readonly layer: StoredLayer;
  readonly graph: OptimizedGraph;
}

/** What optimising a model needs beside it. */
export interface OptimizeOptions {
  readonly workspace: Workspace;
  readonly cache: LayerCache;
  readonly platform: ImagePlatform;
  readonly signal?: AbortSignal;
}

/**
 * Makes the layer that holds a model's optimised graph, beside the original, or finds it where it was made before: it is kept by the
 * model's digest, its sample, the version of the runtime and the kind of processor. It counts only when it was run here.
 */
export async function optimizedLayer(
  model: Model,
  { workspace, cache, platform, signal }: OptimizeOptions,
): Promise<{ readonly outcome: Optimization; readonly made?: OptimizedLayer }> {
  const outcome = { model: `${model.name}:${model.version}`, platform: platformText(platform) };
  if (platform.os !== process.platform || platform.nodeArchitecture !== process.arch) {
    return { outcome: { ...outcome, refused: `it can be run on a machine of this platform only` } };
  }
  const graph = { path: optimizedPath(model.mainPath), runtime: runtimeVersion(), processor: processorKind() };
  const folder = `/models/${model.name}`;
  if (model.files.some(({ path }) => `${folder}/${path}` === graph.path)) {
    return { outcome: { ...outcome, refused: `the model has a file "${graph.path}" of its own` } };
  }
  await using scratch = await openScratch(workspace);
  const options = { workspace, scratch: scratch.path, graph, ...(signal && { signal }) };
  try {
    const layer = await cache.layer({
      key: ['optimized', model.digest, digestOf(JSON.stringify(model.sample)), graph.runtime, graph.processor],
      make: async () => {
        const file = await writeOptimized(model, options);
        const content = { file, size: statSync(file).size };
        return { entries: [{ kind: 'file', path: graph.path, content }], inputs: [], components: [] };
      },
      ...(signal && { signal }),
    });
    return { outcome, made: { layer, graph } };
  } catch (error) {
    if (error instanceof Refusal) return { outcome: { ...outcome, refused: error.message } };
    throw error;
  }
}

/** Says why an optimised graph is not to be used. */
class Refusal extends Error {
  override readonly name = 'Refusal';
}

/** Writes the optimised graph of a model that is in the workspace, and gives the file. */
async function writeOptimized(
  model: Model,
  options: {
    readonly workspace: Workspace;
    readonly scratch: string;
    readonly graph: OptimizedGraph;
    readonly signal?: AbortSignal;
  },
): Promise<string> {
  const { workspace, scratch, graph, signal } = options;
  const target = join(scratch, model.name);
  await downloadModel(workspace, model, { target, ...(signal && { signal }) });
  const placed = (path: string): string => join(target, path.slice(`/models/${model.name}/`.length));
  const file = placed(graph.path);
  const optimized = await optimizeGraph(model, {
    file: placed(model.mainPath),
    target: file,
    ...(signal && { signal }),
  });
  if ('refused' in optimized) throw new Refusal(optimized.refused);
  return file;
}

/** `/models/digits/digits.onnx` is optimised as `/models/digits/digits.optimized.onnx`: weights in other files are found from there too. */
function optimizedPath(mainPath: string): string {
  return `${mainPath.replace(/\.onnx$/, '')}.optimized.onnx`;
}

/** Gives the version of the runtime that goes into images. */
function runtimeVersion(): string {
  const path = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  return z.looseObject({ version: z.string() }).parse(JSON.parse(readFileSync(path, 'utf8'))).version;
}
