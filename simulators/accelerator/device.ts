import { setTimeout as wait } from 'node:timers/promises';
import { Refusal } from './refusal.ts';

/** How a device behaves. */
export interface DeviceOptions {
  /** What one run takes at least, in milliseconds. */
  readonly latencyMs: number;
  /** Requests that may wait; one more is refused. */
  readonly queueMax: number;
}

/** What came of a run, and where its time went. */
export interface DeviceRun<T> {
  readonly result: T;
  readonly queueMs: number;
  readonly runMs: number;
}

/** A card that does one thing at a time, first come first served. */
export class Device {
  readonly #options: DeviceOptions;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();
  #runs = 0;
  #busyMs = 0;

  constructor(options: DeviceOptions) {
    this.#options = options;
  }

  /** Runs since the start, and what one took on average; measured, not set. */
  get figures(): { readonly runs: number; readonly meanRunMs: number; readonly waiting: number } {
    return { runs: this.#runs, meanRunMs: this.#runs === 0 ? 0 : this.#busyMs / this.#runs, waiting: this.#waiting };
  }

  /**
   * Has the card do its work when it is free.
   * @param isWanted asked when its turn comes: what nobody waits for is not run
   * @throws {Refusal} 503 at once when too much waits
   */
  async run<T>(work: () => Promise<T>, isWanted: () => boolean): Promise<DeviceRun<T>> {
    if (this.#waiting >= this.#options.queueMax) {
      throw new Refusal(503, `The accelerator is busy: ${this.#waiting} requests wait, the most that may`);
    }
    const sinceMs = performance.now();
    this.#waiting += 1;
    const before = this.#last;
    const own = before.then(async () => {
      this.#waiting -= 1;
      if (!isWanted()) throw new Refusal(499, 'The client has gone');
      const startMs = performance.now();
      const result = await work();
      const leftMs = this.#options.latencyMs - (performance.now() - startMs);
      if (leftMs > 0) await wait(leftMs);
      const runMs = performance.now() - startMs;
      this.#runs += 1;
      this.#busyMs += runMs;
      return { result, queueMs: startMs - sinceMs, runMs };
    });
    this.#last = own.catch(() => undefined);
    return await own;
  }
}
