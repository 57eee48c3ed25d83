import { z } from 'zod';

/** Rollouts of before that one remembers. */
const pastMax = 5;
/** Characters that are kept of a reason: labels are small. */
const reasonCharsMax = 300;
/** Devices that are kept by name. */
const failedNamedMax = 3;

/** Phases after which nothing more happens by itself. */
export const overPhases = ['done', 'halted', 'aborted'] as const;

/** What is kept of a rollout that is no longer in the hub by itself. */
export const pastRolloutSchema = z.strictObject({
  image: z.string(),
  phase: z.enum(overPhases),
  /** Name of the stage that it ended in. */
  stage: z.string(),
  /** In milliseconds since 1970. */
  startedMs: z.number(),
  endedMs: z.number(),
  reason: z.string().optional(),
  failed: z.array(z.string()).default([]),
  touched: z.number().int().min(0),
});

/** What is kept of a rollout that is no longer in the hub by itself. */
export type PastRollout = z.infer<typeof pastRolloutSchema>;

/** Puts the rollouts of before together, each once and shortened, the latest first. */
export function rolloutHistory(past: readonly PastRollout[]): PastRollout[] {
  const known = new Map(past.map((one) => [`${one.image} ${one.startedMs}`, one]));
  return [...known.values()]
    .toSorted((a, b) => b.startedMs - a.startedMs)
    .slice(0, pastMax)
    .map(({ reason, failed, ...rest }) => ({
      ...rest,
      ...(reason === undefined ? {} : { reason: shortened(reason) }),
      failed: failed.slice(0, failedNamedMax),
    }));
}

/** In one line: what a module said last may have several. */
function shortened(reason: string): string {
  const text = reason.replaceAll(/\s+/g, ' ');
  return text.length <= reasonCharsMax ? text : `${text.slice(0, reasonCharsMax - 1)}…`;
}
