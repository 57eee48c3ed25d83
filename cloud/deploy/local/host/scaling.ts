import type { ReplicaRange } from '../host-state.ts';

/** The load at a moment. */
interface LoadSample {
  readonly atMs: number;
  /** Requests that replicas are at, and those that wait. */
  readonly load: number;
}

/** Looks whose mean decides to scale up: one alone may be chance. */
const looksUp = 2;

/** Looks that are kept at most. */
const looksMax = 5_000;

/**
 * Says how many replicas a service is to have by its load: fast up, slow down. Utilisation is busy and queued requests over what the
 * replicas are given at a time, as Azure ML v1 reckoned it (`specs`, azureml-fe).
 */
export class Scaling {
  #looks: LoadSample[] = [];
  #wanted: number;

  constructor(wanted: number) {
    this.#wanted = wanted;
  }

  /** Takes a look at the load, and gives how many replicas are wanted from now on. */
  look(sample: LoadSample, range: ReplicaRange, concurrentMax: number): number {
    const { least, most, targetUtilization, downSeconds } = range;
    const downMs = downSeconds * 1000;
    // With the look before that time: looks may be as far apart as it is long.
    const since = this.#looks.findLastIndex(({ atMs }) => sample.atMs - atMs > downMs);
    this.#looks = [...this.#looks.slice(Math.max(since, 0)), sample].slice(-looksMax);
    const perReplica = (concurrentMax * targetUtilization) / 100;
    const clamp = (replicas: number): number => Math.min(Math.max(replicas, least), most);
    const recent = this.#looks.slice(-looksUp);
    const up = Math.ceil(recent.reduce((sum, { load }) => sum + load, 0) / recent.length / perReplica);
    if (up > this.#wanted) this.#wanted = clamp(up);
    // Down only to what the busiest moment of all that time needed, and only when all that time was seen.
    const busiest = Math.max(...this.#looks.map(({ load }) => load));
    const down = clamp(Math.ceil(busiest / perReplica));
    const seenMs = sample.atMs - (this.#looks[0]?.atMs ?? sample.atMs);
    if (down < this.#wanted && seenMs >= downMs * 0.9) {
      this.#wanted = down;
      this.#looks = [sample];
    }
    this.#wanted = clamp(this.#wanted);
    return this.#wanted;
  }
}
