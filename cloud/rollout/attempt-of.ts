import type { HubClient } from '../azure/hub-client.ts';
import { pastOf } from './past-of.ts';
import { listRollouts } from './rollout.ts';

/**
 * Tells one more try of an image from those that were halted or aborted; undefined where it is the first. A device that has taken a deployment
 * back does not try it again until it changes: this goes into it as the module's own `version`, and changes nothing else.
 * @param image `name:version`
 */
export async function attemptOf(hub: HubClient, service: string, image: string): Promise<string | undefined> {
  const ended = (await listRollouts(hub))
    .filter(({ request }) => request.service === service)
    .flatMap(pastOf)
    .filter((past) => past.image === image && past.phase !== 'done')
    .map(({ endedMs }) => endedMs);
  return ended.length === 0 ? undefined : `again after ${new Date(Math.max(...ended)).toISOString()}`;
}
