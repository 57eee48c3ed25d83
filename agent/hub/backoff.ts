/** First wait, in milliseconds. */
const baseMs = 1_000;
/** Longest wait, in milliseconds: a device that comes back is seen within a minute. */
const maxMs = 60_000;

/**
 * Gives how long to wait before the next try: doubling, and anywhere in its upper half, so that a site's devices that lost the hub
 * together do not come back together.
 * @param failures tries that failed so far, from 1
 * @param random from 0 to 1
 */
export function retryDelayMs(failures: number, random: number = Math.random()): number {
  const full = Math.min(baseMs * 2 ** (failures - 1), maxMs);
  return full / 2 + (full / 2) * random;
}
