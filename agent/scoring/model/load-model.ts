import { join } from 'node:path';
import { env } from 'onnxruntime-node';
import { messageOf } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import { processorKind } from '../../../shared/model/processor.ts';
import type { ServiceModel } from '../../../shared/model/service-config.ts';
import { OnnxModel } from './onnx-model.ts';

/** Where the image is, and where to say what came of it. */
interface LoadModelOptions {
  /** Folder that stands for the root of the image. */
  readonly root: string;
  readonly log: Logger;
}

/**
 * Loads a model: its optimised graph where the image has one for this runtime and this kind of processor, else, or where that does not
 * load, the original.
 * @throws {FerryError} MODEL_INVALID
 */
export async function loadModel(model: ServiceModel, { root, log }: LoadModelOptions): Promise<OnnxModel> {
  const { name, version, optimized } = model;
  if (optimized?.runtime === env.versions.node && optimized?.processor === processorKind()) {
    try {
      return await OnnxModel.load(join(root, optimized.path), model, { optimized: true });
    } catch (error) {
      log.warn(
        { model: name, version, reason: messageOf(error) },
        'the optimised graph does not load, the original is used',
      );
    }
  } else if (optimized !== undefined) {
    const here = { runtime: env.versions.node, processor: processorKind() };
    log.info(
      { model: name, version, optimized, here },
      'the optimised graph is for another machine, the original is used',
    );
  }
  return await OnnxModel.load(join(root, model.path), model);
}
