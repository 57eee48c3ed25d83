/** Random values of a printed seed: the same seed gives the same values (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Gives a number from 0 up to, and without, 1. */
  fraction(): number {
    return this.below(2 ** 32) / 2 ** 32;
  }

  /** Gives a whole number from one bound to the other, both included. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }

  /** Gives a whole number from 0 up to, and without, the limit. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  }

  /** Says yes once in so many times. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  /** Picks one. */
  pick<T>(items: readonly [T, ...T[]]): T {
    return items[this.below(items.length)] ?? items[0];
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }
}
