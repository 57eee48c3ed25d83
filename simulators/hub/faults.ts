import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import { HubError } from './hub-error.ts';

/** What can be made to go wrong; everything counts or lasts until it is set again. */
export interface FaultSettings {
  /** New connections are cut as soon as they say what they want; the control interface still answers. */
  readonly refuseConnections: boolean;
  /** Everything that comes in waits this long before it is looked at. */
  readonly delayMs: number;
  /** How many acknowledgements of messages from devices are lost from now on. */
  readonly losePubacks: number;
  /** How many requests, over REST and about twins, are answered with 429 from now on. */
  readonly throttleRequests: number;
  /** How many are answered with 500. */
  readonly failRequests: number;
  /** How far the hub's clock is off: positive when it is ahead. */
  readonly clockSkewMs: number;
  /** How long from now nobody gets in; who is connected is cut. */
  readonly outageMs: number;
}

const count = z.number().int().min(0).max(1_000_000_000);

/** What a caller may set of the faults; what is not named stays. */
export const faultChangeSchema = z
  .object({
    refuseConnections: z.boolean(),
    delayMs: count.max(600_000),
    losePubacks: count,
    throttleRequests: count,
    failRequests: count,
    clockSkewMs: z.number().int().min(-10_000_000_000).max(10_000_000_000),
    outageMs: count,
  })
  .partial()
  .strict();

/** A change of the faults. */
export type FaultChange = z.infer<typeof faultChangeSchema>;

const none: FaultSettings = {
  refuseConnections: false,
  delayMs: 0,
  losePubacks: 0,
  throttleRequests: 0,
  failRequests: 0,
  clockSkewMs: 0,
  outageMs: 0,
};

/** The faults that are switched on; the parts of the hub ask here whether to go wrong. */
export class Faults {
  /** The clock that the hub goes by: the given one, and what it is off. */
  readonly clock: Clock;
  readonly #base: Clock;
  #settings = none;
  #outageEndsMs = Number.NEGATIVE_INFINITY;

  constructor(base: Clock) {
    this.#base = base;
    this.clock = {
      nowMs: () => base.nowMs() + this.#settings.clockSkewMs,
      monotonicMs: () => base.monotonicMs(),
      sleep: (ms, signal) => base.sleep(ms, signal),
    };
  }

  /** What is switched on now; counts and the outage are what is left of them. */
  get settings(): FaultSettings {
    return { ...this.#settings, outageMs: Math.max(0, Math.ceil(this.#outageEndsMs - this.#base.monotonicMs())) };
  }

  change(change: FaultChange): void {
    const given = Object.entries(change).filter(([, value]) => value !== undefined);
    this.#settings = { ...this.#settings, ...Object.fromEntries(given) };
    if (change.outageMs !== undefined) this.#outageEndsMs = this.#base.monotonicMs() + change.outageMs;
  }

  /** Switches everything off. */
  clear(): void {
    this.change(none);
  }

  /** Whether new connections are cut. */
  get isRefusing(): boolean {
    return this.#settings.refuseConnections;
  }

  /** Whether the hub says that it is not available. */
  get isOut(): boolean {
    return this.#outageEndsMs > this.#base.monotonicMs();
  }

  get delayMs(): number {
    return this.#settings.delayMs;
  }

  /** Waits as long as what comes in is to wait. */
  async delay(): Promise<void> {
    if (this.delayMs > 0) await this.#base.sleep(this.delayMs);
  }

  /** Says whether this acknowledgement is to be lost. */
  losesPuback(): boolean {
    return this.#take('losePubacks');
  }

  /** @throws {HubError} ThrottlingException or ServerError when this request is to fail */
  check(): void {
    if (this.#take('throttleRequests')) {
      throw new HubError('ThrottlingException', 'The hub is throttling requests, the fault "throttleRequests" is on');
    }
    if (this.#take('failRequests')) throw new HubError('ServerError', 'The fault "failRequests" is on');
  }

  #take(name: 'losePubacks' | 'throttleRequests' | 'failRequests'): boolean {
    const left = this.#settings[name];
    if (left === 0) return false;
    this.#settings = { ...this.#settings, [name]: left - 1 };
    return true;
  }
}
