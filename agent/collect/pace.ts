import type { Clock } from '../../shared/clock.ts';

/** Keeps uploads below a rate: what is sent has to be paid for in time before the next is. */
export class Pace {
  readonly #bytesPerSecondMax: number | undefined;
  readonly #clock: Clock;
  #freeAtMs = 0;

  /** @param bytesPerSecondMax undefined for no limit */
  constructor(bytesPerSecondMax: number | undefined, clock: Clock) {
    this.#bytesPerSecondMax = bytesPerSecondMax;
    this.#clock = clock;
  }

  /**
   * Waits until so many bytes may be sent.
   * @throws the signal's reason when it is aborted
   */
  async wait(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerSecondMax === undefined) return;
    const nowMs = this.#clock.monotonicMs();
    const startMs = Math.max(nowMs, this.#freeAtMs);
    this.#freeAtMs = startMs + (bytes / this.#bytesPerSecondMax) * 1000;
    if (startMs > nowMs) await this.#clock.sleep(startMs - nowMs, signal);
  }
}
