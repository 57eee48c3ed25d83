import type { Clock } from '../../shared/clock.ts';

/** From how long on a wait between two looks is one of a device of which nothing more is expected, in milliseconds. */
const idleLookMs = 5_000;
/**
 * How long nothing may be looked at while more is expected, in milliseconds: as long as modules have to get ready, and are then watched, for only
 * a look after that says what came of it.
 */
const expectingMs = 60_000;

/**
 * The clock by which a light device looks how its modules are. A look at which nothing has changed since the last changes nothing, so those are
 * left out: the waits between them end when something happens, at the time of the look that would have seen it.
 */
export class LookClock implements Clock {
  readonly #clock: Clock;
  /** Whether looks see the same again until {@link stir}. */
  isQuiet = false;
  #stirred = Promise.withResolvers<void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  /** Says that something has happened. */
  stir(): void {
    this.isQuiet = false;
    this.#stirred.resolve();
    this.#stirred = Promise.withResolvers();
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (!this.isQuiet) return this.#clock.sleep(ms, signal);
    const beganMs = this.#clock.monotonicMs();
    const over = new AbortController();
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(signal?.reason as Error);
    signal?.addEventListener('abort', onAbort, { once: true });
    const expecting = ms < idleLookMs ? [this.#clock.sleep(expectingMs, over.signal)] : [];
    try {
      await Promise.race([this.#stirred.promise, aborted, ...expecting]);
    } finally {
      over.abort(new Error('no longer waited for'));
      signal?.removeEventListener('abort', onAbort);
    }
    const overMs = (this.#clock.monotonicMs() - beganMs) % ms;
    if (overMs > 0) await this.#clock.sleep(ms - overMs, signal);
    return undefined;
  }
}
