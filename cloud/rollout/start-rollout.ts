import type { Clock } from '../../shared/clock.ts';
import { FerryError } from '../../shared/errors.ts';
import type { HubClient, NewDeployment } from '../azure/hub-client.ts';
import type { HubConfiguration } from '../azure/hub-resources.ts';
import { checkDevices } from '../deploy/iotedge/edge-conflicts.ts';
import { modulesIn } from '../deploy/iotedge/edge-plan.ts';
import { bucketTag, deviceBucket } from './device-bucket.ts';
import { pastOf } from './past-of.ts';
import { isRetiredBy, retireRollouts } from './retire-rollouts.ts';
import { changeRollout, readRollout, type Rollout, rolloutsAmong } from './rollout.ts';
import { rolloutHistory } from './rollout-history.ts';
import { rolloutLabels } from './rollout-labels.ts';
import { checkPlan, planRollout } from './rollout-plan.ts';
import type { RolloutRequest } from './rollout-request.ts';
import { firstState, isOver } from './rollout-state.ts';
import { conditionUpTo, needsBuckets } from './stage-condition.ts';

/** The settings of {@link startRollout}. */
export interface StartOptions {
  /** Of the image: `linux/amd64`. */
  readonly platform: string;
  /** Whether modules that devices have from other deployments may go. */
  readonly replace: boolean;
  readonly clock: Clock;
  readonly note: (line: string) => void;
}

/**
 * Begins a rollout: one deployment in the hub that means the devices of the first stage. All is checked before anything is touched.
 * Asked the same again, it gives the rollout that there is. What went wrong before is remembered by it, and gone from the hub otherwise.
 * @param deployment of the whole scope
 * @throws {FerryError} DEPLOYMENT_INVALID naming what stands in the way
 */
export async function startRollout(
  hub: HubClient,
  request: RolloutRequest,
  deployment: NewDeployment,
  options: StartOptions,
): Promise<Rollout> {
  const { id } = deployment;
  const deployments = await hub.listDeployments();
  const rollouts = rolloutsAmong(deployments);
  const same = rollouts.find((rollout) => rollout.id === id);
  if (same !== undefined && !isOver(same.state)) {
    await retireRollouts(hub, same);
    return same;
  }
  const under = rollouts.find(({ request: other, state }) => other.service === request.service && !isOver(state));
  if (under !== undefined) throw alreadyUnderWay(under);
  await checkConditions(hub, request);
  const leaving = new Set(rollouts.filter((rollout) => isRetiredBy(request, rollout)).map((rollout) => rollout.id));
  const staying = deployments.filter((other) => !leaving.has(other.id));
  checkPriority(deployment, staying);
  await tagBuckets(hub, request);
  checkPlan(request, await planRollout(hub, request));
  const { platform, replace, note, clock } = options;
  await checkDevices(hub, deployment, { replace, note, platform, modules: modulesIn(deployment) });
  const past = rollouts.filter(({ request: other }) => other.service === request.service).flatMap(pastOf);
  const state = firstState(clock.nowMs(), rolloutHistory(past));
  if (same === undefined) {
    const [targetCondition, labels] = [conditionUpTo(request, 0), rolloutLabels({ request, state })];
    await hub.addDeployment({ ...deployment, targetCondition, labels });
  } else {
    // One that is done, and is asked for again.
    await changeRollout(hub, { ...same, request }, state);
  }
  const begun = await readRollout(hub, id);
  await retireRollouts(hub, begun);
  return begun;
}

/** The least priority that goes before every deployment of a hub, and that none has. */
export function freePriority(deployments: readonly HubConfiguration[], least: number): number {
  return deployments.reduce((free, { priority }) => Math.max(free, (priority ?? 0) + 1), least);
}

/** A hub has all conditions looked at, not only the first: a mistake in the last stage is found before the first begins. */
async function checkConditions(hub: HubClient, request: RolloutRequest): Promise<void> {
  for (const [index] of request.stages.entries()) {
    const condition = conditionUpTo(request, index);
    const problem = await hub.testTargetCondition(condition);
    if (problem === undefined) continue;
    throw new FerryError(
      'DEPLOYMENT_INVALID',
      `Cannot roll "${request.service}" out: the hub does not understand the target condition "${condition}": ${problem}`,
    );
  }
}

/** Of two deployments of one priority the newer wins: which that is would decide what a device gets that comes back. */
function checkPriority({ id, priority }: NewDeployment, deployments: readonly HubConfiguration[]): void {
  const equal = deployments.find((other) => other.id !== id && other.priority === priority);
  if (equal === undefined) return;
  throw new FerryError(
    'DEPLOYMENT_INVALID',
    `Cannot roll out with priority ${priority}: the deployment "${equal.id}" has it, one of its own was wanted`,
    { next: `Leave --priority out, or give ${freePriority(deployments, priority)}.` },
  );
}

/** Gives the devices of the scope their buckets as tags, where a percentage needs them and they are not there. */
async function tagBuckets(hub: HubClient, { scope, stages }: RolloutRequest): Promise<void> {
  if (!needsBuckets(stages)) return;
  const devices = await hub.findEdgeDevices(scope);
  const without = devices.filter(({ deviceId, tags }) => tags[bucketTag] !== deviceBucket(deviceId));
  const failures = await hub.bulk(
    without.map(({ deviceId: id }) => ({
      id,
      importMode: 'updateTwin' as const,
      tags: { [bucketTag]: deviceBucket(id) },
    })),
  );
  const [first] = failures;
  if (first === undefined) return;
  throw new FerryError(
    'HUB_REFUSED',
    `Cannot tag ${failures.length} devices with their buckets: ${first.deviceId}: ${first.errorStatus}`,
  );
}

function alreadyUnderWay({ request, state }: Rollout): FerryError {
  return new FerryError(
    'DEPLOYMENT_INVALID',
    `Cannot roll "${request.service}" out: a rollout of "${request.image}" is ${state.phase}, none under way was wanted`,
    { next: `Go on with it (ferry edge rollout resume ${request.service}) or abort it.` },
  );
}
