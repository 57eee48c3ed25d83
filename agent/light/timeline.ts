import { type Clock, systemClock } from '../../shared/clock.ts';

/** A clock that also calls back, by which light devices live: the machine's own, or one whose time is only counted. */
export interface Timeline extends Clock {
  /** Calls back at a time of {@link Clock.monotonicMs}, unless that is called off before by what is given back. */
  at(monotonicMs: number, work: () => void | Promise<void>): () => void;
}

/** The machine's own time. */
export const systemTimeline: Timeline = {
  ...systemClock,
  at: (monotonicMs, work) => {
    let timer: NodeJS.Timeout | undefined;
    const wait = (): void => {
      const leftMs = monotonicMs - systemClock.monotonicMs();
      // A timer may ring a little early: what is done then would find that it is not yet time.
      if (leftMs > 0 || timer === undefined) timer = setTimeout(wait, Math.max(0, Math.ceil(leftMs)));
      else void work();
    };
    wait();
    return () => clearTimeout(timer);
  },
};

/** Something that is to be done at its time. */
interface Entry {
  readonly atMs: number;
  /** Of two entries of one time the one that was made first comes first. */
  readonly order: number;
  work: (() => void | Promise<void>) | undefined;
}

/** From how many entries on those that were called off are thrown out. */
const sweepFrom = 1024;

/**
 * Time that stands still while anything is being done, and then goes on to where there is next something to do.
 *
 * Invariant: what happens, and in which order, depends only on what was scheduled. So nothing that runs on it may wait for anything else: no
 * file, no socket, no timer of the machine.
 */
export class VirtualTimeline implements Timeline {
  readonly #epochMs: number;
  #nowMs = 0;
  #order = 0;
  /** A binary heap by time and order. */
  #heap: Entry[] = [];
  #calledOff = 0;

  /** @param epochMs what {@link nowMs} gives at the begin, in milliseconds since 1970 */
  constructor(epochMs: number) {
    this.#epochMs = epochMs;
  }

  nowMs(): number {
    return this.#epochMs + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      callOff();
      reject(signal?.reason as Error);
    };
    const callOff = this.at(this.#nowMs + ms, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
    return promise;
  }

  at(monotonicMs: number, work: () => void | Promise<void>): () => void {
    const entry: Entry = { atMs: Math.max(this.#nowMs, Math.ceil(monotonicMs)), order: this.#order, work };
    this.#order += 1;
    this.#push(entry);
    return () => {
      if (entry.work === undefined) return;
      entry.work = undefined;
      this.#calledOff += 1;
      if (this.#heap.length > sweepFrom && this.#calledOff * 2 > this.#heap.length) this.#sweep();
    };
  }

  /** Lets time go on until then, or until there is nothing left to do. */
  async runUntil(endMs: number): Promise<void> {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#nowMs = next.atMs;
      // All of one moment together: what they come to is waited for once.
      while (this.#heap[0]?.atMs === this.#nowMs) {
        const { work } = this.#pop();
        if (work === undefined) this.#calledOff -= 1;
        else await work();
      }
      await nextTurn();
    }
    this.#nowMs = endMs;
    await nextTurn();
  }

  #sweep(): void {
    const kept = this.#heap.filter(({ work }) => work !== undefined);
    this.#heap = [];
    this.#calledOff = 0;
    // Sorted, it is a heap.
    kept.sort((left, right) => (isBefore(left, right) ? -1 : 1));
    this.#heap = kept;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): Entry {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (first === undefined || last === undefined) throw new Error('There is nothing to do');
    // Done or called off from now on: what is given back by `at` does nothing any more.
    const taken = { ...first };
    if (first.work !== undefined) first.work = undefined;
    if (heap.length === 0) return taken;
    let at = 0;
    for (;;) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      const [a, b] = [heap[left], heap[right]];
      const [child, place] = b !== undefined && a !== undefined && isBefore(b, a) ? [b, right] : [a, left];
      if (child === undefined || !isBefore(child, last)) break;
      heap[at] = child;
      at = place;
    }
    heap[at] = last;
    return taken;
  }
}

function isBefore(left: Entry, right: Entry): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order);
}

/** Waits until all promises that can go on have: Node runs them to their end before it takes its next turn. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
