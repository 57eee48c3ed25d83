import type { Rollout } from './rollout.ts';
import type { PastRollout } from './rollout-history.ts';
import { stageName } from './rollout-request.ts';

/** Gives what is to be kept of a rollout and of those before it; of one that is under way only those. */
export function pastOf({ request, state }: Rollout): PastRollout[] {
  const { phase, stage, startedMs, phaseSinceMs: endedMs, reason, failed, touched, history } = state;
  if (phase !== 'done' && phase !== 'halted' && phase !== 'aborted') return history;
  const last = request.stages[stage];
  const one = { image: request.image, phase, stage: last === undefined ? '' : stageName(last), startedMs, endedMs };
  return [{ ...one, ...(reason === undefined ? {} : { reason }), failed, touched }, ...history];
}
