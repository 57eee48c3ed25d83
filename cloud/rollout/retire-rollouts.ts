import { isFerryError } from '../../shared/errors.ts';
import type { HubClient } from '../azure/hub-client.ts';
import { listRollouts, type Rollout } from './rollout.ts';
import type { RolloutRequest } from './rollout-request.ts';
import { isGivenUp } from './rollout-state.ts';
import { takeBack } from './take-back.ts';

/** Whether a rollout means no device any more, and goes when another of its service begins. */
export function isRetiredBy({ service }: Pick<RolloutRequest, 'service'>, { request, state }: Rollout): boolean {
  return request.service === service && isGivenUp(state);
}

/**
 * Removes the rollouts of a service from the hub that mean no device any more, since a later one has begun that remembers them: a hub has room for
 * 100 deployments. One that was killed before it had taken its version back does that first. Doing it again does nothing.
 */
export async function retireRollouts(hub: HubClient, latest: Pick<Rollout, 'id' | 'request'>): Promise<void> {
  for (const rollout of await listRollouts(hub)) {
    const { id } = rollout;
    if (id === latest.id || !isRetiredBy(latest.request, rollout)) continue;
    await takeBack(hub, rollout);
    await hub.removeDeployment(id).catch((error: unknown) => {
      if (!isFerryError(error, 'DEPLOYMENT_NOT_FOUND')) throw error;
    });
  }
}
