import { basename } from 'node:path';
import { FerryError } from '../../shared/errors.ts';
import { withMappedWeights } from './onnx-mapped.ts';
import { askRuntime, type RuntimeAnswer, type RuntimeLimits, type RuntimeTensor } from './runtime-process.ts';

/** A model file to be loaded. */
export interface LoadOptions {
  readonly file: string;
  /** Of all its files together. */
  readonly sizeBytes: number;
  /** A request to run once it is loaded, a tensor an input. */
  readonly request?: readonly RuntimeTensor[] | undefined;
  readonly signal?: AbortSignal;
  /** How long it may take. @default 30 s and a minute a gigabyte */
  readonly timeoutMs?: number;
}

/** Shapes of the outputs as the runtime infers them, by name; `[]` where it cannot tell, and for a single value. */
export type InferredShapes = ReadonlyMap<string, readonly (number | string)[]>;

/** What came of loading a model. */
export interface Loaded {
  readonly shapes: InferredShapes;
  /** What the request gave; absent where there was none. */
  readonly outputs?: readonly RuntimeTensor[];
}

/**
 * Loads a model in ONNX Runtime once, and runs it once where there is a request. Where there is none its weights are mapped, which takes a third of the
 * processor's time for 100 MB; but only what the runtime says of the file itself speaks against a model.
 * @throws {FerryError} MODEL_INVALID when the runtime does not load or run it, with the runtime's reason
 */
export async function loadOnce(options: LoadOptions): Promise<Loaded> {
  const { file, sizeBytes, request, signal } = options;
  const limits = { ...runtimeLimits(sizeBytes), ...options };
  const load = (mapped: Uint8Array | undefined, timeoutMs: number): Promise<RuntimeAnswer> =>
    askRuntime(
      {
        loads: [{ file, level: 'basic', ...(mapped && { mapped: Buffer.from(mapped).toString('base64') }) }],
        requests: request === undefined ? [] : [request],
      },
      { memoryBytes: limits.memoryBytes, timeoutMs, ...(signal && { signal }) },
    );
  const startMs = performance.now();
  const mapped = request === undefined ? withMappedWeights(file) : undefined;
  let answer = await load(mapped, limits.timeoutMs);
  const leftMs = Math.round(startMs + limits.timeoutMs - performance.now());
  if (mapped !== undefined && answer.failure !== undefined && leftMs > 0) answer = await load(undefined, leftMs);
  const { loads, failure } = answer;
  if (failure !== undefined) {
    const doing = failure.step === 'load' ? 'load' : 'score the sample with';
    throw new FerryError('MODEL_INVALID', `Cannot ${doing} "${basename(file)}" in ONNX Runtime: ${failure.reason}`);
  }
  const [loaded] = loads;
  const outputs = loaded?.outputs[0];
  return { shapes: new Map(Object.entries(loaded?.shapes ?? {})), ...(outputs && { outputs }) };
}

/** Gives what loading a model of this size may take, each time it is loaded. */
export function runtimeLimits(modelBytes: number): RuntimeLimits {
  return {
    // Loading takes 290 ms for 100 MB on two cores; a minute a gigabyte leaves room for slow disks.
    timeoutMs: 30_000 + Math.ceil(modelBytes / 1e9) * 60_000,
    // Graph optimisation holds about three copies of the weights at its peak; the rest is the runtime itself.
    memoryBytes: 3 * modelBytes + 1e9,
  };
}
