import { z } from 'zod';
import { ArmError } from './arm-error.ts';

/** What can be made to go wrong; counts go down with use, all else lasts until it is set again. */
export interface FaultSettings {
  /** How many requests are answered with 429 from now on. */
  readonly throttleRequests: number;
  /** How many are answered with 500. */
  readonly failRequests: number;
  /** What `Retry-After` says to those that are throttled, in seconds. */
  readonly retryAfterSeconds: number;
  /** How long a container group takes before its images are pulled, in milliseconds. */
  readonly provisioningDelayMs: number;
  /** How many pulls of images fail from now on. */
  readonly failPulls: number;
  /** Regions that have no room for a container group. */
  readonly fullRegions: readonly string[];
  /** Container groups that a subscription may have in a region. */
  readonly containerGroupsMax: number;
  /** Processor cores that they may have together. */
  readonly coresMax: number;
  /** How long tokens are good that are given out from now on, in seconds. */
  readonly tokenSeconds: number;
}

const count = z.number().int().min(0).max(1_000_000);

/** What a caller may set of the faults; what is not named stays. */
export const faultChangeSchema = z
  .object({
    throttleRequests: count,
    failRequests: count,
    retryAfterSeconds: count,
    provisioningDelayMs: count,
    failPulls: count,
    fullRegions: z.array(z.string()).max(100),
    containerGroupsMax: count,
    coresMax: count,
    tokenSeconds: count,
  })
  .partial()
  .strict();

/** A change of the faults. */
export type FaultChange = z.infer<typeof faultChangeSchema>;

/** Quotas are the service's default ones (container-instances-resource-and-quota-limits); tokens last as long as Entra's shortest. */
const none: FaultSettings = {
  throttleRequests: 0,
  failRequests: 0,
  retryAfterSeconds: 1,
  provisioningDelayMs: 0,
  failPulls: 0,
  fullRegions: [],
  containerGroupsMax: 100,
  coresMax: 100,
  tokenSeconds: 3599,
};

/** The faults that are switched on; the parts of the simulator ask here whether to go wrong. */
export class Faults {
  #settings = none;

  get settings(): FaultSettings {
    return this.#settings;
  }

  change(change: FaultChange): void {
    const given = Object.entries(change).filter(([, value]) => value !== undefined);
    this.#settings = { ...this.#settings, ...Object.fromEntries(given) };
  }

  /** Switches everything off. */
  clear(): void {
    this.#settings = none;
  }

  /** @throws {ArmError} TooManyRequests or InternalServerError when this request is to fail */
  check(): void {
    if (this.#take('throttleRequests')) {
      throw new ArmError(
        429,
        'TooManyRequests',
        'The request is being throttled. Please try after the time that Retry-After says.',
        {
          headers: { 'retry-after': String(this.#settings.retryAfterSeconds) },
        },
      );
    }
    if (this.#take('failRequests')) {
      throw new ArmError(500, 'InternalServerError', 'Encountered an internal server error.');
    }
  }

  /** Says whether this pull is to fail. */
  failsPull(): boolean {
    return this.#take('failPulls');
  }

  #take(name: 'throttleRequests' | 'failRequests' | 'failPulls'): boolean {
    const left = this.#settings[name];
    if (left === 0) return false;
    this.#settings = { ...this.#settings, [name]: left - 1 };
    return true;
  }
}
