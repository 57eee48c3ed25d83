import { setTimeout as sleep } from 'node:timers/promises';

/** The settings of {@link until}. */
interface UntilOptions {
  /** @default 10_000 */
  readonly timeoutMs?: number;
  /** What is waited for, for the message of the failure. */
  readonly what?: string;
}

/** Polls until the probe gives something truthy, and gives that. Fails when the time is over, with the last failure as its cause. */
export async function until<T>(
  probe: () => T | Promise<T>,
  options: UntilOptions = {},
): Promise<Exclude<T, false | null | undefined | 0 | ''>> {
  const { timeoutMs = 10_000, what = 'what the test waits for' } = options;
  const end = performance.now() + timeoutMs;
  let cause: unknown;
  while (performance.now() < end) {
    try {
      const value = await probe();
      if (value) return value as Exclude<T, false | null | undefined | 0 | ''>;
    } catch (error) {
      cause = error;
    }
    await sleep(20);
  }
  throw new Error(`${what} did not come about within ${timeoutMs} ms`, { cause });
}
