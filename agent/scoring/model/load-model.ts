import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import { optimizedGraphSchema, optimizedPaths } from '../../../shared/model/optimized-graph.ts';
import { processorKind } from '../../../shared/model/processor.ts';
import type { ServiceModel } from '../../../shared/model/service-config.ts';
import { OnnxModel } from './onnx-model.ts';

/** Where the image is, and where to say what came of it. */
interface LoadModelOptions {
  /** Folder that stands for the root of the image. */
  readonly root: string;
  readonly log: Logger;
  /** Whether it is of the size of those that need little memory to run. @default false */
  readonly light?: boolean;
}

/**
 * Loads a model: its optimised graph where the image has one for this runtime and this kind of processor, else, or where that does not
 * load, the original.
 * @throws {FerryError} MODEL_INVALID
 */
export async function loadModel(
  model: ServiceModel,
  { root, log, light = false }: LoadModelOptions,
): Promise<OnnxModel> {
  const path = join(root, model.path);
  const { graph, description } = optimizedPaths(path);
  if (existsSync(description)) {
    const about = { model: model.name, version: model.version };
    try {
      const { runtime, processor } = optimizedGraphSchema.parse(JSON.parse(readFileSync(description, 'utf8')));
      const { env } = await import('onnxruntime-node');
      const here = { runtime: env.versions.node, processor: processorKind() };
      if (runtime === here.runtime && processor === here.processor) {
        return OnnxModel.load(graph, model, { optimized: true, light });
      }
      log.info(
        { ...about, runtime, processor, here },
        'the optimised graph is for another machine, the original is used',
      );
    } catch (error) {
      log.warn({ ...about, reason: messageOf(error) }, 'the optimised graph cannot be used, the original is');
    }
  }
  return OnnxModel.load(path, model, { light });
}
