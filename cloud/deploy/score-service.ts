import { isIPv6 } from 'node:net';
import { withDeadline } from '../../shared/deadline.ts';
import { FerryError, isFerryError, messageOf } from '../../shared/errors.ts';
import type { ServiceRecord } from './service-records.ts';

/** How much of a refusal's text is repeated. */
const refusalLengthMax = 500;

/** What to score and where. */
export interface ScoreOptions {
  /** JSON text, sent as it is. */
  readonly input: string;
  /** `http://host:port`, in place of {@link scoringAddressOf}. */
  readonly address?: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * Gives the address that a service on IoT Edge is reached at, as far as the workspace can know: the device's own address where the
 * port is bound to one, else this machine, which the device then has to be.
 */
export function scoringAddressOf({ settings }: ServiceRecord): string {
  const { hostAddress, port } = settings;
  if (hostAddress === '0.0.0.0' || hostAddress === '::') return `http://127.0.0.1:${port}`;
  return `http://${isIPv6(hostAddress) ? `[${hostAddress}]` : hostAddress}:${port}`;
}

/**
 * Scores rows on a service over HTTP.
 * @returns what the service answered, parsed
 * @throws {FerryError} SCORING_FAILED with the address, and the service's own words where it answered
 */
export async function scoreService(record: ServiceRecord, options: ScoreOptions): Promise<unknown> {
  const { input, address = scoringAddressOf(record), timeoutMs, signal } = options;
  const doing = `score on the service "${record.name}"`;
  const url = new URL('/score', address);
  try {
    return await withDeadline({ doing, timeoutMs, signal }, async (signal) => {
      const headers = { 'content-type': 'application/json' };
      const response = await fetch(url, { method: 'POST', headers, body: input, signal });
      const text = await response.text();
      if (response.ok) return JSON.parse(text) as unknown;
      const said = text.slice(0, refusalLengthMax);
      throw new FerryError('SCORING_FAILED', `Cannot ${doing}: ${url.href} answered ${response.status}: ${said}`);
    });
  } catch (error) {
    signal.throwIfAborted();
    if (isFerryError(error)) throw error;
    const next =
      options.address === undefined
        ? 'Where the device is another machine, give --address http://<device>:<port>; the port must not be bound to 127.0.0.1 then.'
        : 'Check the address, and `ferry service show` for the state of the service.';
    const found = error instanceof SyntaxError ? 'what it answers is no JSON' : messageOf(error);
    throw new FerryError('SCORING_FAILED', `Cannot ${doing}: nothing usable answers at ${url.href} (${found})`, {
      next,
    });
  }
}
