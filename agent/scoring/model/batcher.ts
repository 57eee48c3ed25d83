import { FerryError } from '../../../shared/errors.ts';
import type { Tensor } from '../../collect/tensor.ts';
import type { OnnxModel } from './onnx-model.ts';
import { joinRows, rowsOf, sameButRows, sliceRows } from './rows.ts';

/** One request's part in a run. */
interface BatchResult {
  readonly outputs: Tensor[];
  /** When the run began and ended, by `performance.now()`; all requests of it share that. */
  readonly startMs: number;
  readonly endMs: number;
  /** Requests that shared the run. */
  readonly requests: number;
}

/** A request to run. */
interface Waiting {
  readonly feeds: readonly Tensor[];
  readonly wanted: Wanted;
  /** Since when it waits, by `performance.now()`. */
  readonly sinceMs: number;
  /** What it throws fails this request alone. */
  readonly onRun: (result: BatchResult) => void;
  /**
   * Called with a {@link FerryError}: TIMEOUT when its deadline passes before its run begins, INTERRUPTED when nobody wants it any more,
   * and it is not run then; else SCORING_FAILED or REQUEST_INVALID, when the run fails.
   */
  readonly onFailure: (error: unknown) => void;
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
   */
  run(waiting: Waiting): void {
    if (this.#waiting.length >= this.#options.waitingMax) {
      throw new FerryError('OVERLOADED', `Cannot score now: ${this.#waiting.length} requests wait, the most that may`);
    }
    this.#waiting.push(waiting);
    if (this.#draining) return;
    this.#draining = true;
    // Requests that arrived together are read before the first run begins.
    setImmediate(this.#drain);
  }

  /** One run a turn of the event loop: what comes meanwhile is read before the next. */
  readonly #drain = (): void => {
    const batch = this.#nextBatch();
    if (batch.length > 0) this.#runBatch(batch);
    if (this.#waiting.length > 0) setImmediate(this.#drain);
    else this.#draining = false;
  };

  #runBatch(batch: readonly Waiting[]): void {
    const [only] = batch;
    const startMs = performance.now();
    let outputs: Tensor[];
    try {
      const joined = batch.length === 1 && only !== undefined ? only.feeds : joinRows(batch.map(({ feeds }) => feeds));
      outputs = this.#model.run(joined);
    } catch (error) {
      // One bad request must not fail its neighbours: each runs again alone.
      if (batch.length === 1) only?.onFailure(error);
      else for (const waiting of batch) this.#runBatch([waiting]);
      return;
    }
    const endMs = performance.now();
    let row = 0;
    for (const waiting of batch) {
      const rows = rowsOf(waiting.feeds);
      const own = batch.length === 1 ? outputs : sliceRows(outputs, row, rows);
      row += rows;
      try {
        waiting.onRun({ outputs: own, startMs, endMs, requests: batch.length });
      } catch (error) {
        waiting.onFailure(error);
      }
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
function isWanted({ wanted, onFailure }: Waiting, nowMs: number): boolean {
  if (wanted.abandoned) {
    onFailure(new FerryError('INTERRUPTED', 'Cannot answer: the client has gone'));
    return false;
  }
  if (nowMs <= wanted.deadlineAtMs) return true;
  onFailure(timedOut(wanted.timeoutMs));
  return false;
}

/** Makes the failure of a request whose time is over, in Azure ML's words. */
export function timedOut(timeoutMs: number): FerryError {
  return new FerryError('TIMEOUT', `Scoring timeout after ${timeoutMs} ms`);
}
