import { isFerryError } from '../../shared/errors.ts';
import { parseVersionedName } from '../../shared/model/name.ts';
import type { HubClient } from '../azure/hub-client.ts';
import { acceleratorModule } from '../deploy/iotedge/edge-deployment.ts';
import { modulesIn } from '../deploy/iotedge/edge-plan.ts';
import { findService, insertService, replaceService, type ServiceRecord } from '../deploy/service-records.ts';
import type { GivenSettings } from '../deploy/settings/definitions.ts';
import { completeSettings } from '../deploy/settings/service-settings.ts';
import { findImage } from '../images/image.ts';
import type { Workspace } from '../workspace/workspace.ts';
import type { Rollout } from './rollout.ts';

/**
 * Does what is left when all devices of the scope are meant: the deployments that this one takes the place of go from the hub, and the
 * service's record says what its devices run now. Doing it again does nothing.
 * @returns ids of the deployments that are gone
 */
export async function finishRollout(workspace: Workspace, hub: HubClient, rollout: Rollout): Promise<string[]> {
  if (rollout.state.phase !== 'done') return [];
  const { service, scope } = rollout.request;
  const deployments = await hub.listDeployments();
  const own = deployments.find(({ id }) => id === rollout.id);
  const others =
    own === undefined ? [] : modulesIn(own).filter((name) => name !== service && name !== acceleratorModule(service));
  writeRecord(workspace, rollout, { hub: hub.hostName, ...(others.length > 0 && { carried: others }) });
  const gone: string[] = [];
  for (const { id, labels, targetCondition } of deployments) {
    const isOurs = labels?.['createdBy'] === 'modelferry' && labels['service'] === service && id !== rollout.id;
    // One that means other devices goes on meaning them.
    const isReplaced = (targetCondition ?? '').trim() === '' || targetCondition === scope;
    if (!isOurs || !isReplaced) continue;
    await hub.removeDeployment(id).catch((error: unknown) => {
      if (!isFerryError(error, 'DEPLOYMENT_NOT_FOUND')) throw error;
    });
    gone.push(id);
  }
  return gone;
}

/** The image may be unknown in this workspace, where the rollout was begun in another: then there is nothing to record. */
function writeRecord(
  { database }: Workspace,
  { id, request, state }: Rollout,
  place: { readonly hub: string; readonly carried?: readonly string[] },
): void {
  const { service, image: imageId, reference } = request;
  const image = knownImage(database, imageId, reference);
  if (image === undefined) return;
  const given = request.settings as GivenSettings;
  const updatedAt = new Date(state.phaseSinceMs).toISOString();
  database
    .transaction(() => {
      const before = findService(database, service);
      const record: ServiceRecord = {
        name: service,
        target: { kind: 'iotedge' },
        image: { name: image.name, version: image.version, digest: image.digest },
        given,
        settings: completeSettings('iotedge', given),
        deployment: { ...place, id, image: reference },
        description: before?.description ?? '',
        tags: before?.tags ?? {},
        properties: before?.properties ?? {},
        createdAt: before?.createdAt ?? updatedAt,
        updatedAt,
      };
      if (before === undefined) insertService(database, record);
      else replaceService(database, record);
    })
    .immediate();
}

function knownImage(database: Workspace['database'], id: string, reference: string) {
  try {
    const image = findImage(database, parseVersionedName(id));
    return reference.endsWith(`@${image.digest}`) ? image : undefined;
  } catch (error) {
    if (isFerryError(error, 'IMAGE_NOT_FOUND')) return undefined;
    throw error;
  }
}
