import type { Rollout } from './rollout.ts';
import type { PastRollout } from './rollout-history.ts';
import { stageName } from './rollout-request.ts';
import { isOver } from './rollout-state.ts';

/** Gives what is to be kept of a rollout and of those before it; of one that is under way only those. */
export function pastOf({ request, state }: Rollout): PastRollout[] {
  if (!isOver(state)) return state.history;
  const { phase, stage, startedMs, phaseSinceMs: endedMs, reason, failed, touched, history } = state;
  const last = request.stages[stage];
  const one = { image: request.image, phase, stage: last === undefined ? '' : stageName(last), startedMs, endedMs };
  return [{ ...one, ...(reason === undefined ? {} : { reason }), failed, touched }, ...history];
}
