/** How long replicas that end by themselves are left, in milliseconds: longer with each, until they have held for a while. */
const backoffMsMin = 500;
const backoffMsMax = 30_000;
const heldMs = 60_000;

/** Counts replicas that have ended by themselves, and says when the next one is to be waited with. */
export class CrashCount {
  #inARow = 0;
  #lastMs = -Infinity;
  #all = 0;
  #reason: string | undefined;

  /** How many there were ever. */
  get all(): number {
    return this.#all;
  }

  /** Why the last one ended, unless replicas have held since. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Notes one more. */
  note(reason: string, nowMs: number): void {
    this.forgive(nowMs);
    this.#inARow += 1;
    this.#all += 1;
    this.#lastMs = nowMs;
    this.#reason = reason;
  }

  /** Forgets those before, where replicas have held for long enough. */
  forgive(nowMs: number): void {
    if (nowMs - this.#lastMs > heldMs) this.clear();
  }

  /** Begins anew: what runs now is something else. */
  clear(): void {
    this.#inARow = 0;
    this.#lastMs = -Infinity;
    this.#reason = undefined;
  }

  /** Whether they end so often that the next one is waited with. */
  isHeldBack(nowMs: number): boolean {
    if (this.#inARow <= 1) return false;
    return nowMs - this.#lastMs < Math.min(backoffMsMin * 2 ** (this.#inARow - 1), backoffMsMax);
  }
}
