import { z } from 'zod';
import { HubError } from '../hub-error.ts';
import type { Continuation } from '../query/run.ts';

/** Sizes of a page, in rows. @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-query-language */
const pageRows = { fallback: 100, max: 1000 } as const;

const continuationSchema = z.object({ after: z.string(), given: z.number().int().min(0), query: z.string() });

/** Reads how many rows a page is to have. @throws {HubError} ArgumentInvalid */
export function readPageSize(text: string | undefined): number {
  if (text === undefined || text === '') return pageRows.fallback;
  if (!/^\d{1,9}$/.test(text) || Number(text) < 1) {
    throw new HubError('ArgumentInvalid', 'The header "x-ms-max-item-count" must be a whole number of at least 1');
  }
  return Math.min(Number(text), pageRows.max);
}

/** Writes the token of the next page of a query; callers cannot look into it. */
export function writeContinuation(next: Continuation, query: string): string {
  return Buffer.from(JSON.stringify({ ...next, query })).toString('base64');
}

/** Reads the token of a page. @throws {HubError} ArgumentInvalid when it is not one of this query */
export function readContinuation(token: string | undefined, query: string): Continuation | undefined {
  if (token === undefined || token === '') return undefined;
  try {
    const parsed = continuationSchema.parse(JSON.parse(Buffer.from(token, 'base64').toString('utf8')));
    if (parsed.query === query) return parsed;
  } catch {
    // Refused below, together with a token of another query.
  }
  throw new HubError('ArgumentInvalid', 'The header "x-ms-continuation" is not that of this query');
}
