import { systemCodeOf } from '../errors.ts';

/** How often a request is sent at most, the first time included. */
export const attemptsMax = 5;

/** How long to wait before the second, third … attempt, in milliseconds. */
const delaysMs = [100, 300, 1000, 3000] as const;

/** A registry may ask for more patience than that, up to so much. */
const retryAfterMsMax = 60_000;

/** Statuses that may be another one the next time. 507 and 501 are not: a full disk stays full. */
const statuses: readonly number[] = [408, 425, 429, 500, 502, 503, 504];

/** Failures of a connection that may not happen the next time; a name that is not known or a bad certificate will. */
const codes: readonly string[] = [
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EPIPE',
  'ETIMEDOUT',
];

/** Why a request was refused that may succeed the next time; the cause of the error that says so. */
export class TryAgain extends Error {
  override readonly name = 'TryAgain';
  /** The registry's `Retry-After`, as it was sent. */
  readonly retryAfter: string | undefined;

  constructor(status: number, retryAfter: string | undefined) {
    super(`${status} may be another answer the next time`);
    this.retryAfter = retryAfter;
  }
}

/** Says whether an answer with the status may be another one the next time. */
export function isRetryableStatus(status: number): boolean {
  return statuses.includes(status);
}

/** Says whether a request that ended with the failure may succeed the next time. */
export function isRetryableFailure(failure: unknown): boolean {
  const code = systemCodeOf(failure);
  if (code !== undefined && codes.includes(code)) return true;
  return causesOf(failure).some((cause) => cause instanceof TryAgain);
}

/** Gives how long to wait after a failed attempt, in milliseconds. @param attempt 0 for the first one */
export function retryDelayMs(attempt: number, failure: unknown, nowMs: number): number {
  const ownMs = delaysMs[Math.min(attempt, delaysMs.length - 1)] ?? 0;
  const retryAfter = causesOf(failure).find((cause) => cause instanceof TryAgain)?.retryAfter;
  if (retryAfter === undefined) return ownMs;
  const askedMs = /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - nowMs;
  return Number.isNaN(askedMs) ? ownMs : Math.min(Math.max(askedMs, ownMs), retryAfterMsMax);
}

function causesOf(failure: unknown): readonly Error[] {
  const causes: Error[] = [];
  for (let at = failure; at instanceof Error && causes.length < 8; at = at.cause) causes.push(at);
  return causes;
}
