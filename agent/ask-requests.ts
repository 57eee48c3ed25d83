import { askModule } from './ask-module.ts';
import type { ModuleSpec } from './module-spec.ts';

/** How many requests to score a module has answered since it was started. */
export interface RequestCounts {
  readonly answered: number;
  /** Of these, those that failed by its own fault: with a status of 500 and more. */
  readonly failed: number;
}

/** Asks a module how its requests went; nothing where it does not say. */
export type AskRequests = (spec: Pick<ModuleSpec, 'name' | 'createOptions'>) => Promise<RequestCounts | undefined>;

/** How long a module may take to give its figures, in milliseconds. */
const timeoutMs = 2_000;
/** Most bytes of them. */
const bytesMax = 4 * 1024 * 1024;

/** Asks a module for its metrics, and reads off how its requests went. */
export const askRequests: AskRequests = async (spec) => {
  const answer = await askModule(spec, { path: '/metrics', timeoutMs, bytesMax }).catch(() => undefined);
  return answer?.status === 200 ? requestCountsIn(answer.body) : undefined;
};

/** Reads off a scoring server's metrics how its requests went; none where it tells of none. */
export function requestCountsIn(metrics: string): RequestCounts {
  let [answered, failed] = [0, 0];
  for (const [, code, count] of metrics.matchAll(/^modelferry_requests_total\{[^}]*code="(\d+)"[^}]*\} (\d+)/gm)) {
    answered += Number(count);
    if (Number(code) >= 500) failed += Number(count);
  }
  return { answered, failed };
}

/** Gives the share of requests that failed, from 0 to 1. */
export function failedShare({ answered, failed }: RequestCounts): number {
  return answered === 0 ? 0 : failed / answered;
}
