import type { Clock } from '../../shared/clock.ts';
import { HubError } from './hub-error.ts';

/**
 * What one unit of tier S1 lets through, a second.
 * @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling
 */
const perUnit = { connections: 100, 'twin reads': 100, 'twin updates': 50, 'upload initiations': 100 / 60 } as const;

/** What is let through so often a second and no more. */
export type Throttled = keyof typeof perUnit;

/**
 * The throttles of a hub of tier S1. The real hub first delays what is too much, for a little while; here it is refused at once.
 *
 * Invariant: of each kind no more get through in any second than twice what a second allows, and on average no more than that.
 */
export class Throttles {
  readonly #units: number | undefined;
  readonly #clock: Clock;
  readonly #left = new Map<Throttled, { left: number; atMs: number }>();
  /** How often each kind was refused. */
  readonly refused = new Map<Throttled, number>();

  /** @param options.units of the hub; without there are no throttles */
  constructor(options: { readonly units: number | undefined; readonly clock: Clock }) {
    this.#units = options.units;
    this.#clock = options.clock;
  }

  /** Says whether one more gets through, and counts it. */
  lets(kind: Throttled): boolean {
    if (this.#units === undefined) return true;
    const perSecond = perUnit[kind] * this.#units;
    const nowMs = this.#clock.monotonicMs();
    const { left, atMs } = this.#left.get(kind) ?? { left: perSecond, atMs: nowMs };
    const now = Math.min(Math.max(perSecond, 1), left + ((nowMs - atMs) * perSecond) / 1000);
    const passes = now >= 1;
    this.#left.set(kind, { left: passes ? now - 1 : now, atMs: nowMs });
    if (!passes) this.refused.set(kind, (this.refused.get(kind) ?? 0) + 1);
    return passes;
  }

  /** @throws {HubError} ThrottlingException when one more is too much */
  check(kind: Throttled): void {
    if (this.lets(kind)) return;
    throw new HubError(
      'ThrottlingException',
      `The hub is throttling requests: too many ${kind} a second for its units`,
    );
  }
}
