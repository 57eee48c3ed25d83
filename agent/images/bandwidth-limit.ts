import type { Clock } from '../../shared/clock.ts';

/** Least rate that may be set, in bytes a second: below it a piece of a download would take so long that the link counts as dead. */
export const bytesPerSecondMin = 16_000;
/** What may come at once after a pause, in seconds of the rate. */
const burstSeconds = 1;

/**
 * A token bucket: lets so many bytes through in a second, counted over all that takes from it. Whoever asks first is served first. Waiting
 * before the next piece is read holds the sender up by TCP's own means.
 */
export class BandwidthLimit {
  readonly #bytesPerSecond: number;
  readonly #clock: Clock;
  /** Below 0 while somebody waits for what he has taken. */
  #bytes: number;
  #countedMs: number;

  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
    this.#bytes = bytesPerSecond * burstSeconds;
    this.#countedMs = clock.monotonicMs();
  }

  /**
   * Takes bytes that have come, and waits for as long as they are too many.
   * @throws the signal's reason when it is aborted meanwhile
   */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const refill = ((nowMs - this.#countedMs) / 1000) * this.#bytesPerSecond;
    this.#countedMs = nowMs;
    this.#bytes = Math.min(this.#bytesPerSecond * burstSeconds, this.#bytes + refill) - bytes;
    if (this.#bytes < 0) await this.#clock.sleep((-this.#bytes / this.#bytesPerSecond) * 1000, signal);
  }
}
