import { FerryError } from '../../../shared/errors.ts';
import { timedOut, type Wanted } from '../model/batcher.ts';

interface Waiting {
  readonly begin: () => void;
  readonly refuse: (error: FerryError) => void;
  readonly wanted: Wanted;
  readonly timer: NodeJS.Timeout;
}

/** Lets a few requests through at a time, first come first served; who waits has a deadline, and not everybody may wait. */
export class RequestTurns {
  readonly #options: { readonly concurrency: number; readonly waitingMax: number };
  readonly #waiting = new Set<Waiting>();
  #running = 0;

  constructor(options: { readonly concurrency: number; readonly waitingMax: number }) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Does the work when it is its turn.
   * @throws {FerryError} OVERLOADED at once, TIMEOUT when the deadline passes before, INTERRUPTED when nobody wants it any more
   */
  async run<T>(wanted: Wanted, work: () => Promise<T>): Promise<{ readonly result: T; readonly queueMs: number }> {
    const sinceMs = performance.now();
    if (this.#running < this.#options.concurrency) this.#running += 1;
    else await this.#wait(wanted);
    const queueMs = performance.now() - sinceMs;
    try {
      return { result: await work(), queueMs };
    } finally {
      this.#next();
    }
  }

  async #wait(wanted: Wanted): Promise<void> {
    if (this.#waiting.size >= this.#options.waitingMax) {
      throw new FerryError('OVERLOADED', `Cannot score now: ${this.#waiting.size} requests wait, the most that may`);
    }
    await new Promise<void>((resolve, reject) => {
      const leftMs = Math.max(0, wanted.deadlineAtMs - performance.now());
      const timer = setTimeout(() => {
        this.#waiting.delete(own);
        reject(timedOut(wanted.timeoutMs));
      }, leftMs);
      const own: Waiting = { begin: resolve, refuse: reject, wanted, timer };
      this.#waiting.add(own);
    });
  }

  /** Gives the turn that ended to the next one that is wanted. */
  #next(): void {
    for (const waiting of this.#waiting) {
      this.#waiting.delete(waiting);
      clearTimeout(waiting.timer);
      if (!waiting.wanted.abandoned) {
        waiting.begin();
        return;
      }
      waiting.refuse(new FerryError('INTERRUPTED', 'Cannot answer: the client has gone'));
    }
    this.#running -= 1;
  }
}
