import { pastOf } from './past-of.ts';
import type { Rollout } from './rollout.ts';
import { isGivenUp } from './rollout-state.ts';

/**
 * Tells one more try of an image from those that were halted or aborted; undefined where it is the first. A device that has taken a deployment
 * back does not try it again until it changes: this goes into it as the module's own `version`, and changes nothing else.
 * @param rollouts all of the hub
 * @param image `name:version`
 */
export function attemptOf(rollouts: readonly Rollout[], service: string, image: string): string | undefined {
  const ended = rollouts
    .filter(({ request }) => request.service === service)
    .flatMap(pastOf)
    .filter((past) => past.image === image && isGivenUp(past))
    .map(({ endedMs }) => endedMs);
  return ended.length === 0 ? undefined : `again after ${new Date(Math.max(...ended)).toISOString()}`;
}
