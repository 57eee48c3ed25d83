import type { ScoreCall } from './protocol/score-call.ts';
import type { Scored, Scorer } from './scorer.ts';

/** A model that is served until another takes its place. Requests that found it before then are still answered, by it or by its successor. */
export class ServedModel implements Scorer {
  /** What it runs on. */
  readonly scorer: Scorer;
  /** What the configuration said of it, and which file stood there. */
  readonly identity: string;
  #running = 0;
  #successor: (() => Scorer) | undefined;
  readonly #idle = Promise.withResolvers<void>();

  constructor(scorer: Scorer, identity: string) {
    this.scorer = scorer;
    this.identity = identity;
  }

  get model(): Scorer['model'] {
    return this.scorer.model;
  }

  get waiting(): number {
    return this.scorer.waiting;
  }

  get accelerator(): Scorer['accelerator'] {
    return this.scorer.accelerator;
  }

  score(call: ScoreCall): Promise<Scored> {
    // Its body was still being read when another took the place.
    if (this.#successor !== undefined) return this.#successor().score(call);
    const scored = this.scorer.score(call);
    this.#running += 1;
    scored.then(this.#onDone, this.#onDone);
    return scored;
  }

  readonly #onDone = (): void => {
    this.#running -= 1;
    if (this.#running === 0 && this.#successor !== undefined) this.#idle.resolve();
  };

  /**
   * Takes no more requests, and ends when those that it has are answered; each of them has a deadline.
   * @param successor gives what takes the requests that come late, or throws where there is nothing
   */
  async retire(successor: () => Scorer): Promise<void> {
    this.#successor = successor;
    if (this.#running > 0) await this.#idle.promise;
    this.close();
  }

  close(): void {
    this.scorer.close();
  }
}
