import { FerryError } from '../../../shared/errors.ts';
import type { Tensor } from '../../collect/tensor.ts';
import type { OnnxModel } from './onnx-model.ts';
import { joinRows, rowsOf, sameButRows, sliceRows } from './rows.ts';

/** One request's part in a run. */
export interface BatchResult {
  readonly outputs: Tensor[];
  /** From asking until the run began. */
  readonly queueMs: number;
  /** The run's time, which all requests of it share. */
  readonly runMs: number;
  /** Requests that shared the run. */
  readonly requests: number;
}

/** Whether a request is still wanted. */
export interface Wanted {
  /** Set when nobody waits for the answer any more. */
  readonly abandoned: boolean;
  /** By `performance.now()`. */
  readonly deadlineAtMs: number;
  readonly timeoutMs: number;
}

/** The settings of a {@link Batcher}. */
export interface BatcherOptions {
  /** Whether requests may share a run; a trial has shown that rows do not change each other. */
  readonly sharesRuns: boolean;
  /** Requests that may wait; one more is refused. */
  readonly waitingMax: number;
  /** Rows of one run, where it is of several requests. */
  readonly rowsMax: number;
}

interface Waiting {
  readonly feeds: readonly Tensor[];
  readonly wanted: Wanted;
  readonly sinceMs: number;
  readonly resolve: (result: BatchResult) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Runs a model for many requests, one run at a time, first come first served. What waits when a run begins shares it;
 * nothing is held back to wait for company.
 */
export class Batcher {
  readonly #model: OnnxModel;
  readonly #options: BatcherOptions;
  #waiting: Waiting[] = [];
  #draining = false;

  constructor(model: OnnxModel, options: BatcherOptions) {
    this.#model = model;
    this.#options = options;
  }

  /** Whether requests share runs. */
  get sharesRuns(): boolean {
    return this.#options.sharesRuns;
  }

  /** Requests that wait for their run. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Runs the model.
   * @throws {FerryError} OVERLOADED at once when too many wait
   * @throws {FerryError} TIMEOUT when its deadline passes before its run begins; it is not run then
   * @throws {FerryError} SCORING_FAILED when the run fails
   */
  run(feeds: readonly Tensor[], wanted: Wanted): Promise<BatchResult> {
    if (this.#waiting.length >= this.#options.waitingMax) {
      throw new FerryError('OVERLOADED', `Cannot score now: ${this.#waiting.length} requests wait, the most that may`);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ feeds, wanted, sinceMs: performance.now(), resolve, reject });
      if (this.#draining) return;
      this.#draining = true;
      // Requests that arrived together are read before the first run begins.
      setImmediate(() => void this.#drain());
    });
  }

  async #drain(): Promise<void> {
    for (let batch = this.#nextBatch(); batch.length > 0; batch = this.#nextBatch()) await this.#runBatch(batch);
    this.#draining = false;
  }

  async #runBatch(batch: readonly Waiting[]): Promise<void> {
    const startMs = performance.now();
    const [only] = batch;
    try {
      const joined = batch.length === 1 && only !== undefined ? only.feeds : joinRows(batch.map(({ feeds }) => feeds));
      const outputs = await this.#model.run(joined);
      const runMs = performance.now() - startMs;
      let row = 0;
      for (const { feeds, resolve, sinceMs } of batch) {
        const rows = rowsOf(feeds);
        const own = batch.length === 1 ? outputs : sliceRows(outputs, row, rows);
        row += rows;
        resolve({ outputs: own, queueMs: startMs - sinceMs, runMs, requests: batch.length });
      }
    } catch (error) {
      // One bad request must not fail its neighbours: each runs again alone.
      if (batch.length === 1) only?.reject(error);
      else for (const waiting of batch) await this.#runBatch([waiting]);
    }
  }

  /** Takes what may share a run from the front of the queue, without those that nobody wants any more. */
  #nextBatch(): Waiting[] {
    const batch: Waiting[] = [];
    const { sharesRuns, rowsMax } = this.#options;
    const nowMs = performance.now();
    let rows = 0;
    let taken = 0;
    for (const waiting of this.#waiting) {
      const first = batch[0];
      if (isWanted(waiting, nowMs)) {
        rows += rowsOf(waiting.feeds);
        if (first !== undefined && (!sharesRuns || rows > rowsMax || !sameButRows(first.feeds, waiting.feeds))) break;
        batch.push(waiting);
      }
      taken += 1;
    }
    this.#waiting = this.#waiting.slice(taken);
    return batch;
  }
}

/** Says whether a request is to be run; one that is not gets its answer here. */
function isWanted({ wanted, reject }: Waiting, nowMs: number): boolean {
  if (wanted.abandoned) {
    reject(new FerryError('INTERRUPTED', 'Cannot answer: the client has gone'));
    return false;
  }
  if (nowMs <= wanted.deadlineAtMs) return true;
  reject(timedOut(wanted.timeoutMs));
  return false;
}

/** Makes the failure of a request whose time is over, in Azure ML's words. */
export function timedOut(timeoutMs: number): FerryError {
  return new FerryError('TIMEOUT', `Scoring timeout after ${timeoutMs} ms`);
}
