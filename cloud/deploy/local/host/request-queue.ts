import type { Upstream } from './upstream.ts';

/** Requests that wait for a replica at most; one more is refused at once. */
const waitingMax = 10_000;

/** A request that waits for a replica. */
interface Waiting {
  readonly give: (upstream: Upstream | undefined) => void;
  readonly endsAtMs: number;
  readonly not: Upstream | undefined;
}

/** The settings of {@link RequestQueue}. */
export interface QueueLimits {
  /** Requests that a replica is given at a time. */
  readonly concurrentMax: number;
  readonly waitMs: number;
}

/**
 * Gives each request to the replica that is at the fewest, in the order that they came in; a request that no replica has room for waits.
 * A wait that takes too long ends with none.
 */
export class RequestQueue implements Disposable {
  limits: QueueLimits;
  readonly #upstreams = new Set<Upstream>();
  readonly #waiting: Waiting[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(limits: QueueLimits) {
    this.limits = limits;
    this.#timer = setInterval(() => this.#expire(), 50);
  }

  /** Requests that replicas are at, and those that wait. */
  get load(): number {
    return this.#waiting.length + [...this.#upstreams].reduce((sum, { outstanding }) => sum + outstanding, 0);
  }

  add(upstream: Upstream): void {
    this.#upstreams.add(upstream);
    this.serve();
  }

  remove(upstream: Upstream): void {
    this.#upstreams.delete(upstream);
  }

  /**
   * Asks for a replica.
   * @param give called with one, whose {@link Upstream.outstanding} counts the request already, or with none when the wait was over
   * @param not one that has failed at it already
   * @returns what ends the wait
   */
  request(give: Waiting['give'], not?: Upstream): () => void {
    const upstream = this.#waiting.length === 0 ? this.#leastBusy(not) : undefined;
    if (upstream !== undefined) {
      upstream.outstanding += 1;
      give(upstream);
      return () => {};
    }
    if (this.#waiting.length >= waitingMax) {
      give(undefined);
      return () => {};
    }
    const waiting = { give, endsAtMs: performance.now() + this.limits.waitMs, not };
    this.#waiting.push(waiting);
    return () => {
      const at = this.#waiting.indexOf(waiting);
      if (at >= 0) this.#waiting.splice(at, 1);
    };
  }

  /** Gives those that wait what has become free. */
  serve(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const upstream = this.#leastBusy(first.not);
      if (upstream === undefined) return;
      this.#waiting.shift();
      upstream.outstanding += 1;
      first.give(upstream);
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const { give } of this.#waiting.splice(0)) give(undefined);
  }

  #leastBusy(not: Upstream | undefined): Upstream | undefined {
    let least: Upstream | undefined;
    let only: Upstream | undefined;
    for (const upstream of this.#upstreams) {
      if (!upstream.isReady || upstream.outstanding >= this.limits.concurrentMax) continue;
      if (upstream === not) only = upstream;
      else if (least === undefined || upstream.outstanding < least.outstanding) least = upstream;
    }
    return least ?? only;
  }

  #expire(): void {
    const nowMs = performance.now();
    while ((this.#waiting[0]?.endsAtMs ?? Infinity) <= nowMs) this.#waiting.shift()?.give(undefined);
  }
}
