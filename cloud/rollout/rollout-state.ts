import { z } from 'zod';
import { overPhases, type PastRollout, pastRolloutSchema } from './rollout-history.ts';

/**
 * Where a rollout is.
 *
 * - `rolling`: the devices of the stage take the new version
 * - `baking`: they have it, and are watched
 * - `waiting`: they were watched long enough; a person says when to go on
 * - `done`: all devices of the scope are meant, for good
 * - `halted`, `aborted`: no device is meant any more; each has what it had before
 */
export const phases = ['rolling', 'baking', 'waiting', ...overPhases] as const;

/** What changes while a rollout runs. */
export const rolloutStateSchema = z.strictObject({
  /** Index of the stage that is under way, or was at the end. */
  stage: z.number().int().min(0),
  phase: z.enum(phases),
  /** Whether the next stage is not to begin; what is wrong still halts it. */
  paused: z.boolean(),
  /** When the phase began, and the rollout, in milliseconds since 1970. */
  phaseSinceMs: z.number(),
  startedMs: z.number(),
  /** Why it was halted or aborted. */
  reason: z.string().optional(),
  /** Devices that failed, the first few of them. */
  failed: z.array(z.string()).default([]),
  /** Devices that were given the new version. */
  touched: z.number().int().min(0).default(0),
  /** Rollouts of the service before this one, the latest first. */
  history: z.array(pastRolloutSchema).default([]),
});

/** What changes while a rollout runs. */
export type RolloutState = z.infer<typeof rolloutStateSchema>;

/** Whether nothing more happens by itself. */
export function isOver(state: RolloutState): state is RolloutState & Pick<PastRollout, 'phase'> {
  return overPhases.some((phase) => phase === state.phase);
}

/** Whether it was given up: it means no device any more. */
export function isGivenUp({ phase }: Pick<RolloutState, 'phase'>): boolean {
  return phase === 'halted' || phase === 'aborted';
}

/** The state that a rollout begins in. */
export function firstState(nowMs: number, history: RolloutState['history'] = []): RolloutState {
  const nothing = { failed: [], touched: 0 };
  return { stage: 0, phase: 'rolling', paused: false, phaseSinceMs: nowMs, startedMs: nowMs, ...nothing, history };
}
