import { FerryError } from '../../shared/errors.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import { fallbackNames, readAccelerable } from '../models/accelerable.ts';
import type { Model } from '../models/model.ts';

/** Most nodes that a refusal names; the rest is counted. */
const namedMax = 20;

/**
 * Checks that an accelerator could run all of these models: in integers (QDQ), of one shape. A graph of floats would run there too, on the
 * processor and without a word.
 * @throws {FerryError} MODEL_INVALID naming every open dimension, and the nodes that would fall back
 */
export async function checkAccelerable(layout: LayoutStore, models: readonly Model[]): Promise<void> {
  const problems: string[] = [];
  for (const model of models) {
    const found = await readAccelerable(layout, model);
    if (found === undefined) continue;
    const id = `${model.name}:${model.version}`;
    const { nodes, fallbacks, openTensors } = found;
    problems.push(...openTensors.map((open) => `${open} in "${id}", numbers alone were wanted`));
    if (fallbacks.length === 0) continue;
    problems.push(
      `${fallbacks.length} of ${nodes} nodes of "${id}" would run on the processor: ${fallbackNames(fallbacks, namedMax)}`,
    );
  }
  if (problems.length === 0) return;
  throw new FerryError('MODEL_INVALID', `Cannot build an image of the flavor "fpga": ${problems.join('; ')}`, {
    next: 'Quantise the model with fixed shapes in the QDQ format (quantize_static of onnxruntime, Quark), or build it with --flavor web.',
  });
}
