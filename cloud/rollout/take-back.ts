import { isFerryError } from '../../shared/errors.ts';
import type { HubClient } from '../azure/hub-client.ts';
import { deviceReportOf } from '../deploy/iotedge/device-report.ts';
import { acceleratorModule } from '../deploy/iotedge/edge-deployment.ts';
import { modulesIn } from '../deploy/iotedge/edge-plan.ts';
import { withoutModules } from '../deploy/iotedge/without-modules.ts';
import type { Rollout } from './rollout.ts';
import { isGivenUp } from './rollout-state.ts';

/**
 * Takes the new version off the devices that have nothing to go back to. A hub gives devices that a deployment no longer means the next one that
 * does; those without one it leaves as they are, so the module is taken out of their desired properties. Doing it again does nothing.
 * @returns the devices that it was taken from
 */
export async function takeBack(hub: HubClient, { id, request, state }: Rollout): Promise<string[]> {
  if (!isGivenUp(state)) return [];
  const { service } = request;
  const deployment = (await hub.listDeployments()).find((one) => one.id === id);
  const names = deployment === undefined ? [service, acceleratorModule(service)] : modulesIn(deployment);
  const cleared: string[] = [];
  for (const twin of await hub.listEdgeAgents()) {
    const { desiredImages, deployments } = deviceReportOf(twin);
    const others = Object.keys(deployments).filter((other) => other !== id);
    if (desiredImages[request.service] !== request.reference || others.length > 0) continue;
    try {
      await hub.applyToDevice(twin.deviceId, withoutModules(twin, names));
      cleared.push(twin.deviceId);
    } catch (error) {
      // Removed in the meantime.
      if (!isFerryError(error, 'DEVICE_NOT_FOUND')) throw error;
    }
  }
  return cleared;
}
