import { FerryError } from '../../shared/errors.ts';
import type { HubClient } from '../azure/hub-client.ts';
import { deviceReportsOf } from '../deploy/iotedge/device-report.ts';
import { type RolloutRequest, stageName } from './rollout-request.ts';
import { stageOf } from './stage-condition.ts';

/** What one device of a rollout's scope gets, and has. */
export interface PlannedDevice {
  readonly deviceId: string;
  readonly connected: boolean;
  /** Index of the stage in which it gets the new version; undefined when it is in none but gets it at the end. */
  readonly stage: number | undefined;
  /** Image of the service's module that it says it runs; undefined when it says nothing of one. */
  readonly image: string | undefined;
}

/** Says which device gets the new version in which stage, without changing anything. */
export async function planRollout(hub: HubClient, request: RolloutRequest): Promise<PlannedDevice[]> {
  const devices = await hub.findEdgeDevices(request.scope);
  const reports = deviceReportsOf(await hub.listEdgeAgents());
  return devices
    .map(({ deviceId, tags, connectionState }): PlannedDevice => {
      const report = reports.get(deviceId);
      return {
        deviceId,
        connected: connectionState === 'Connected' || report?.connected === true,
        stage: stageOf(request.stages, { deviceId, tags }),
        image: report?.modules[request.service]?.image,
      };
    })
    .toSorted((a, b) => (a.stage ?? Infinity) - (b.stage ?? Infinity) || (a.deviceId < b.deviceId ? -1 : 1));
}

/**
 * Refuses a rollout whose stages prove nothing: one without a device lets the version through untested.
 * @throws {FerryError} DEPLOYMENT_INVALID naming all such stages
 */
export function checkPlan({ service, scope, stages }: RolloutRequest, plan: readonly PlannedDevice[]): void {
  const empty = stages.filter((_, index) => plan.every(({ stage }) => stage !== index)).map(stageName);
  if (empty.length === 0) return;
  const names = empty.map((name) => `"${name}"`).join(', ');
  throw new FerryError(
    'DEPLOYMENT_INVALID',
    `Cannot roll "${service}" out: no device of "${scope}" comes new with the stage ${names}, one at least was wanted`,
    { next: 'See who gets what with --plan.' },
  );
}
