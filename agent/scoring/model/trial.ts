import { allocate, elementCount, isText, type Tensor } from '../../collect/tensor.ts';
import type { OnnxModel } from './onnx-model.ts';
import { hasRowDimension, joinRows, sliceRows } from './rows.ts';

/** What trying a model has shown. */
export interface Trial {
  /** Time of one run of one row. */
  readonly runMs: number;
  /** Whether rows that share a run get the same answers as alone, and sooner. */
  readonly sharesRuns: boolean;
}

/** Runs until the time of one settles: the first ones allocate. */
const warmUpRuns = 2;

/** Two rows in one run must take less than this much of two runs; else sharing only makes each wait for the other. */
const sharedCostMax = 0.8;

/** A model is tried this long, and this often, at most: on a busy machine one run of a light model can take milliseconds. */
const trialMs = 50;
const trialsMax = 40;

/** Runs a model a few times on made-up rows: measuring it is surer than knowing its kind. */
export function tryModel(model: OnnxModel): Trial {
  const [first, second] = [sampleFeeds(model, 1), sampleFeeds(model, 2)];
  const alone = [model.run(first), model.run(second)];
  for (let run = 1; run < warmUpRuns; run += 1) model.run(first);
  if (!hasRowDimension(model.model.signature)) {
    const [runMs = 0] = leastTimes([() => model.run(first)]);
    return { runMs, sharesRuns: false };
  }
  const joined = joinRows([first, second]);
  const together = model.run(joined);
  const same = alone.every((outputs, row) => sameValues(outputs, sliceRows(together, row, 1)));
  const [runMs = 0, sharedMs = 0] = leastTimes([() => model.run(first), () => model.run(joined)]);
  return { runMs, sharesRuns: same && sharedMs < 2 * runMs * sharedCostMax };
}

/**
 * Times runs by turns, so that all of them have the same luck. What else the machine does, and code that is not compiled yet, only add to a
 * time: the least of many is the model's own.
 */
function leastTimes(runs: readonly (() => unknown)[]): number[] {
  const least = runs.map(() => Number.POSITIVE_INFINITY);
  const endMs = performance.now() + trialMs;
  for (let trial = 0; trial < trialsMax && (trial === 0 || performance.now() < endMs); trial += 1) {
    for (const [at, run] of runs.entries()) {
      const startMs = performance.now();
      run();
      least[at] = Math.min(least[at] ?? 0, performance.now() - startMs);
    }
  }
  return least;
}

/** Makes inputs of one row with values that depend on the seed. Text and integers are zeros: they may be indices. */
function sampleFeeds(model: OnnxModel, seed: number): Tensor[] {
  return model.model.signature.inputs.map(({ name, type, shape: wanted }) => {
    const shape = wanted.map((dimension) => (typeof dimension === 'number' ? dimension : 1));
    const length = elementCount(shape);
    if (type === 'string') return { name, type, shape, data: Array.from({ length }, () => '') };
    const data = allocate(type, length);
    if (type === 'float32' || type === 'float64') {
      for (let index = 0; index < length; index += 1) data[index] = Math.sin(index * seed + seed);
    }
    return { name, type, shape, data };
  });
}

/** Compares values bit by bit: answers must not depend on who else asks. */
function sameValues(left: readonly Tensor[], right: readonly Tensor[]): boolean {
  return left.every(({ data }, index) => {
    const other = right[index]?.data ?? [];
    if (data.length !== other.length) return false;
    if (isText(data)) return data.every((text, at) => text === other[at]);
    for (let at = 0; at < data.length; at += 1) if (!Object.is(data[at], other[at])) return false;
    return true;
  });
}
