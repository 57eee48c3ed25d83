import type { Digest } from '../../shared/digest.ts';

/** Lets one at a time get each blob: images that have one in common, pulled together, would else write it into the same file. */
export class BlobTurns {
  /** Until when all that came before are done with a blob. */
  readonly #taken = new Map<Digest, Promise<unknown>>();

  /**
   * Waits until nobody else is at the blob, and does the work.
   * @throws the signal's reason, at once when it is aborted while others are at it; and what the work throws
   */
  async run(blob: Digest, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    const before = this.#taken.get(blob);
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const taken = Promise.all([before, done]);
    this.#taken.set(blob, taken);
    void this.#forget(blob, taken);
    try {
      if (before !== undefined) await orAborted(before, signal);
      await work();
    } finally {
      resolve();
    }
  }

  /** Forgets a blob that nobody is at any more. */
  async #forget(blob: Digest, taken: Promise<unknown>): Promise<void> {
    await taken;
    if (this.#taken.get(blob) === taken) this.#taken.delete(blob);
  }
}

async function orAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  await Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', onAbort));
}
