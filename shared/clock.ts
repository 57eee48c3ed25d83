import { setTimeout as sleep } from 'node:timers/promises';

/** The time, and waiting for it. Tests drive one of their own. */
export interface Clock {
  /** Gives the wall-clock time in milliseconds since 1970 (UTC); it may jump. */
  nowMs(): number;
  /** Gives a time in milliseconds that never goes back; only differences mean something. */
  monotonicMs(): number;
  /**
   * Waits.
   * @throws the signal's reason when it is aborted before the time is over
   */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    if (signal === undefined) return sleep(ms);
    // Node throws an error of its own instead of the reason.
    return sleep(ms, undefined, { signal }).catch((error: unknown) => {
      signal.throwIfAborted();
      throw error;
    });
  },
};
