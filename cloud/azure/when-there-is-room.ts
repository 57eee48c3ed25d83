import { setTimeout as sleep } from 'node:timers/promises';
import { isFerryError } from '../../shared/errors.ts';

/**
 * Pauses before a call is made again for which a hub had no room, in milliseconds, each shortened at random by up to half. A hub counts queries by
 * the minute, twenty for a unit of tier S1, and ten thousand devices take as many.
 * @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling
 */
const pausesMs = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 60_000] as const;

/**
 * Makes a call, and makes it again where the hub is throttling: what it refuses with that it has not done.
 * @throws {FerryError} OVERLOADED when there was no room for two minutes
 */
export async function whenThereIsRoom<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (const pauseMs of pausesMs) {
    try {
      return await call();
    } catch (error) {
      if (!isFerryError(error, 'OVERLOADED')) throw error;
    }
    await sleep(pauseMs * (1 - Math.random() / 2), undefined, { signal }).catch(() => signal.throwIfAborted());
  }
  return call();
}
