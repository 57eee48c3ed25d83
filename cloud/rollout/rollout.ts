import { FerryError } from '../../shared/errors.ts';
import type { HubClient } from '../azure/hub-client.ts';
import type { HubConfiguration } from '../azure/hub-resources.ts';
import { type LabelledRollout, readRolloutLabels, rolloutLabels } from './rollout-labels.ts';
import { conditionUpTo } from './stage-condition.ts';
import { isGivenUp, type RolloutState } from './rollout-state.ts';

/** A rollout as the hub has it: one deployment, whose labels hold what was asked and where it is. */
export interface Rollout extends LabelledRollout {
  /** Of its deployment. */
  readonly id: string;
  readonly priority: number;
  /** Of the deployment when it was read. */
  readonly etag: string;
}

/** Gives all rollouts of a hub, the latest first. */
export async function listRollouts(hub: HubClient): Promise<Rollout[]> {
  return rolloutsAmong(await hub.listDeployments());
}

/** Gives those of a hub's deployments that are rollouts, the latest first. */
export function rolloutsAmong(deployments: readonly HubConfiguration[]): Rollout[] {
  const all = deployments.map(rolloutOf).filter((rollout) => rollout !== undefined);
  return all.toSorted((a, b) => b.state.startedMs - a.state.startedMs);
}

/**
 * Finds the latest rollout of a service.
 * @throws {FerryError} ROLLOUT_NOT_FOUND
 */
export async function findRollout(hub: HubClient, service: string): Promise<Rollout> {
  const all = await listRollouts(hub);
  const found = all.find(({ request }) => request.service === service);
  if (found !== undefined) return found;
  const known = [...new Set(all.map(({ request }) => `"${request.service}"`))].join(', ');
  throw new FerryError(
    'ROLLOUT_NOT_FOUND',
    `Cannot find a rollout of "${service}": the hub ${hub.hostName} ${known === '' ? 'has none' : `has some of ${known}`}`,
  );
}

/**
 * Brings a rollout into another state: who is meant and what is told of it change in one step of the hub's, so a kill leaves it
 * before or after, never between.
 * @returns the rollout as it is then
 * @throws {FerryError} DEPLOYMENT_CHANGED when somebody else has changed it since it was read
 */
export async function changeRollout(hub: HubClient, rollout: Rollout, state: RolloutState): Promise<Rollout> {
  const changed = { ...rollout, state };
  await hub.changeDeployment(rollout.id, {
    etag: rollout.etag,
    targetCondition: conditionIn(changed),
    labels: rolloutLabels(changed),
  });
  return readRollout(hub, rollout.id);
}

/** @throws {FerryError} DEPLOYMENT_NOT_FOUND when it was deleted, ROLLOUT_NOT_FOUND when the deployment is none */
export async function readRollout(hub: HubClient, id: string): Promise<Rollout> {
  const rollout = rolloutOf(await hub.getDeployment(id));
  if (rollout !== undefined) return rollout;
  throw new FerryError('ROLLOUT_NOT_FOUND', `Cannot read the rollout "${id}": its deployment is no rollout`);
}

/** The target condition of a rollout's deployment. */
export function conditionIn({ request, state }: LabelledRollout): string {
  if (isGivenUp(state)) return '';
  return state.phase === 'done' ? request.scope : conditionUpTo(request, state.stage);
}

function rolloutOf({ id, labels, priority, etag }: HubConfiguration): Rollout | undefined {
  const found = readRolloutLabels(id, labels ?? {});
  return found && { id, priority: priority ?? 0, etag: etag ?? '', ...found };
}
