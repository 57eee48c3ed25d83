/** Longest first wait, in milliseconds: half of it on average. */
const baseMs = 2_000;
/** Longest wait, in milliseconds: a device that comes back is seen within a minute. */
const maxMs = 60_000;

/**
 * Gives how long to wait before the next try: anywhere from at once to a bound that doubles ("full jitter"), so that devices that lost the hub
 * together come back one by one, evenly over the bound. Any least wait would have all of them come in the rest of it.
 * @param failures tries that failed so far, from 1
 * @param random from 0 to 1
 */
export function retryDelayMs(failures: number, random: number = Math.random()): number {
  return Math.min(baseMs * 2 ** (failures - 1), maxMs) * random;
}
