/** Who has a share of what there is, as a weight. */
interface Sharer {
  readonly weight: number;
}

/**
 * Shares out one after the other, so that after any number of turns everybody has had what their weight says, to within one: no chance is in
 * it, and no run of turns goes to one of them.
 */
export class Shares<T extends Sharer> {
  readonly #sharers: readonly T[];
  readonly #credits: number[];
  readonly #total: number;

  constructor(sharers: readonly T[]) {
    this.#sharers = sharers;
    this.#credits = sharers.map(() => 0);
    this.#total = sharers.reduce((sum, { weight }) => sum + weight, 0);
  }

  /** Gives whose turn it is; nobody's where nobody has a weight. */
  next(): T | undefined {
    if (this.#total <= 0) return undefined;
    let best = -1;
    for (const [at, { weight }] of this.#sharers.entries()) {
      this.#credits[at] = (this.#credits[at] ?? 0) + weight;
      if (weight > 0 && (best < 0 || (this.#credits[at] ?? 0) > (this.#credits[best] ?? 0))) best = at;
    }
    this.#credits[best] = (this.#credits[best] ?? 0) - this.#total;
    return this.#sharers[best];
  }
}
