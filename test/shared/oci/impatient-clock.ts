import { type Clock, systemClock } from '../../../shared/clock.ts';

/** A clock that waits for nothing, and remembers how long it was to wait. */
export function impatientClock(): Clock & { readonly sleptMs: readonly number[] } {
  const sleptMs: number[] = [];
  return {
    ...systemClock,
    sleptMs,
    async sleep(ms, signal) {
      signal?.throwIfAborted();
      sleptMs.push(ms);
    },
  };
}
