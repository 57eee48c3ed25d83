import type { ScoredModel } from '../../shared/model/service-config.ts';
import type { WorkerPool } from './pool/worker-pool.ts';
import type { ScoreCall } from './protocol/score-call.ts';
import type { Scored, Scorer } from './scorer.ts';

/** Requests up to this are scored on the listening thread where the model is light: reading them takes a fraction of a millisecond. */
const inlineBytesMax = 64 * 1024;

/**
 * A light model: small requests are scored at once on the listening thread, large ones in a worker, which the first of them
 * starts.
 */
export class PlacedScorer implements Scorer {
  readonly model: ScoredModel;
  readonly #inline: Scorer;
  readonly #startPool: () => Promise<WorkerPool>;
  #pool: Promise<WorkerPool> | undefined;
  #started: WorkerPool | undefined;

  constructor(inline: Scorer, startPool: () => Promise<WorkerPool>) {
    this.model = inline.model;
    this.#inline = inline;
    this.#startPool = startPool;
  }

  get waiting(): number {
    return this.#inline.waiting + (this.#started?.waiting ?? 0);
  }

  score(call: ScoreCall): Promise<Scored> {
    return call.body.byteLength <= inlineBytesMax ? this.#inline.score(call) : this.#scoreInPool(call);
  }

  close(): void {
    this.#inline.close();
    void this.#pool?.then(
      (pool) => pool.close(),
      () => undefined,
    );
  }

  async #scoreInPool(call: ScoreCall): Promise<Scored> {
    this.#pool ??= this.#start();
    return await (await this.#pool).score(call);
  }

  async #start(): Promise<WorkerPool> {
    try {
      this.#started = await this.#startPool();
      return this.#started;
    } catch (error) {
      // The next large request tries again.
      this.#pool = undefined;
      throw error;
    }
  }
}
