import type { TensorType } from '../../shared/model/signature.ts';
import { runtimeLimits } from './load-once.ts';
import type { Model } from './model.ts';
import { askRuntime, type RuntimeTensor } from './runtime-process.ts';
import { elementsOf, madeUpTensors, toRuntimeTensors } from './sample-tensors.ts';

/** What came of optimising a graph: how far its answers are from the original's at most, or why it is not to be used. */
export type Optimized = { readonly difference: number } | { readonly refused: string };

/** How far an element may be from the original's: this much, and this share of it. Other types must be the same. */
const tolerances: Partial<Record<TensorType, { readonly absolute: number; readonly relative: number }>> = {
  float16: { absolute: 1e-3, relative: 1e-2 },
  float32: { absolute: 1e-5, relative: 1e-4 },
  float64: { absolute: 1e-9, relative: 1e-7 },
};

/** Numbers of rows that are made up where a model has no sample: one, and several that are laid out otherwise. */
const madeUpRows: readonly number[] = [1, 3];

/**
 * Optimises a model's graph wholly, as the scoring server would at every start, writes it to a file, and scores both: a graph that was
 * saved does not always run, or not as the original does.
 * @param file the model's ONNX file, with the files of its weights beside it
 * @param target where the optimised graph is written to, in the same folder
 */
export async function optimizeGraph(
  model: Model,
  { file, target, signal }: { readonly file: string; readonly target: string; readonly signal?: AbortSignal },
): Promise<Optimized> {
  const { sample, signature, sizeBytes } = model;
  const requests =
    sample === null
      ? madeUpRows.map((rows) => madeUpTensors(signature, rows))
      : [toRuntimeTensors(sample.input, signature)];
  const loads = [
    { file, level: 'all', saveTo: target },
    { file, level: 'all' },
    { file: target, level: 'disabled' },
  ] as const;
  // The first may not have given all of its memory back when the next is loaded.
  const { timeoutMs, memoryBytes } = runtimeLimits(loads.length * sizeBytes);
  const { loads: done, failure } = await askRuntime(
    { loads, requests },
    { timeoutMs, memoryBytes, ...(signal && { signal }) },
  );
  if (failure !== undefined) return { refused: `${failureTexts[done.length] ?? ''}: ${failure.reason}` };
  const [, original, optimized] = done;
  return compare(original?.outputs.flat() ?? [], optimized?.outputs.flat() ?? []);
}

/** What failed, by how many loads were done before. */
const failureTexts: readonly string[] = [
  'the runtime does not optimise it',
  'the original cannot be scored to compare, with its sample or with made-up rows',
  'the optimised graph does not run',
];

function compare(original: readonly RuntimeTensor[], optimized: readonly RuntimeTensor[]): Optimized {
  let difference = 0;
  for (const [at, before] of original.entries()) {
    const after = optimized[at];
    if (after === undefined || after.type !== before.type || after.shape.join() !== before.shape.join()) {
      return { refused: `the output "${before.name}" has another type or shape when it is optimised` };
    }
    const { absolute, relative } = tolerances[before.type] ?? { absolute: 0, relative: 0 };
    const found = elementsOf(after);
    for (const [index, wanted] of elementsOf(before).entries()) {
      const got = found[index];
      if (Object.is(got, wanted) || got === wanted) continue;
      const distance = typeof got === 'number' && typeof wanted === 'number' ? Math.abs(got - wanted) : Number.NaN;
      if (!(distance <= absolute + relative * Math.abs(Number(wanted)))) {
        return { refused: `the output "${before.name}" is ${got} instead of ${wanted} when it is optimised` };
      }
      difference = Math.max(difference, distance);
    }
  }
  return { difference };
}
