import { FerryError, isFerryError } from '../../shared/errors.ts';
import { parseVersionedName } from '../../shared/model/name.ts';
import type { HubClient, NewDeployment } from '../azure/hub-client.ts';
import { findImage } from '../images/image.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { deviceReportOf } from './device-report.ts';
import { checkDevices } from './edge-conflicts.ts';
import { edgeDeployment } from './edge-deployment.ts';
import { findPublishedImage } from './published-image.ts';
import {
  deleteService,
  getService,
  hasService,
  insertService,
  type ServiceRecord,
  serviceExists,
} from './service-records.ts';
import { type EdgeServiceRequest, edgeServiceSettings } from './service-settings.ts';
import { type EdgeServiceState, edgeServiceState } from './service-state.ts';
import { withoutModule } from './without-module.ts';

/** What a service needs to be deployed to IoT Edge. */
export interface EdgeContext {
  readonly workspace: Workspace;
  readonly hub: HubClient;
}

/** The settings of {@link createEdgeService} that are about this one call. */
export interface CreateOptions {
  /** Whether modules that devices have from other deployments may go. */
  readonly replace: boolean;
  /** Told what the user should know and what is no failure. */
  readonly note: (line: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Deploys an image to all devices that the request means: a deployment in the hub and a record in the workspace, or neither. What
 * is wrong is found before anything is touched.
 * @throws {FerryError} SERVICE_INVALID, SERVICE_EXISTS, IMAGE_NOT_FOUND or ENDPOINT_MISSING when the request does not hold
 * @throws {FerryError} DEPLOYMENT_INVALID when the hub refuses the target condition, or another deployment stands in the way
 */
export async function createEdgeService(
  { workspace, hub }: EdgeContext,
  request: EdgeServiceRequest,
  options: CreateOptions,
): Promise<ServiceRecord> {
  const { name } = request;
  const settings = edgeServiceSettings(request);
  const { database } = workspace;
  if (hasService(database, name)) throw serviceExists(name);
  const image = findImage(database, parseVersionedName(request.image));
  const imageReference = await findPublishedImage(workspace, image, options.signal);
  const deployment = edgeDeployment({ name, image: imageReference, scope: workspace.scope, settings });
  await checkCondition(hub, deployment);
  await checkDevices(hub, deployment, { ...options, module: name, platform: image.platform });
  const existed = await putDeployment(hub, deployment);
  const now = new Date().toISOString();
  const record: ServiceRecord = {
    name,
    target: 'iotedge',
    image: { name: image.name, version: image.version, digest: image.digest },
    settings,
    deployment: { hub: hub.hostName, id: deployment.id, image: imageReference },
    description: request.description ?? '',
    tags: request.tags ?? {},
    properties: {},
    createdAt: now,
    updatedAt: now,
  };
  try {
    insertService(database, record);
  } catch (error) {
    // Another process may have created the same service at the same moment; then the deployment is its own.
    const isUsed = hasService(database, name) && getService(database, name).deployment.id === deployment.id;
    if (!existed && !isUsed) await hub.removeDeployment(deployment.id);
    throw error;
  }
  return record;
}

/** Asks the hub how the service is on its devices. */
export async function observeEdgeService(hub: HubClient, record: ServiceRecord): Promise<EdgeServiceState> {
  const { name, settings, deployment } = record;
  const found = await hub.getDeployment(deployment.id).catch(absent('DEPLOYMENT_NOT_FOUND'));
  const twins = found === undefined ? [] : await hub.listTargetedEdgeAgents(deployment.id);
  return edgeServiceState({
    name,
    image: deployment.image,
    deploymentId: deployment.id,
    targetCondition: settings.targetCondition,
    targetedCount: found && Math.max(found.systemMetrics?.results?.['targetedCount'] ?? 0, twins.length),
    reports: twins.map(deviceReportOf),
  });
}

/**
 * Deletes a service: its deployment, then its module on every device that no other deployment takes over, then its record. A hub
 * leaves devices without a deployment as they are, so the module is taken out of their desired properties. Cut short at any line,
 * a second call finishes it.
 * @returns the devices that the module was taken from
 */
export async function deleteEdgeService({ workspace, hub }: EdgeContext, record: ServiceRecord): Promise<string[]> {
  const { name, deployment } = record;
  await hub.removeDeployment(deployment.id).catch(absent('DEPLOYMENT_NOT_FOUND'));
  const cleared: string[] = [];
  for (const twin of await hub.listEdgeAgents()) {
    const report = deviceReportOf(twin);
    const others = Object.keys(report.deployments).filter((id) => id !== deployment.id);
    if (report.desiredImages[name] !== deployment.image || others.length > 0) continue;
    const taken = await hub
      .applyToDevice(twin.deviceId, withoutModule(twin, name))
      .then(() => true, absent('DEVICE_NOT_FOUND'));
    if (taken === true) cleared.push(twin.deviceId);
  }
  deleteService(workspace.database, name);
  return cleared;
}

async function checkCondition(hub: HubClient, { id, targetCondition }: NewDeployment): Promise<void> {
  const problem = await hub.testTargetCondition(targetCondition);
  if (problem === undefined) return;
  throw new FerryError(
    'DEPLOYMENT_INVALID',
    `Cannot make the deployment "${id}": the hub does not understand the target condition "${targetCondition}": ${problem}`,
  );
}

/**
 * Puts the deployment into the hub. One of the same id is the same deployment, left there when this program was killed before it
 * could record the service.
 * @returns whether it was there already
 */
async function putDeployment(hub: HubClient, deployment: NewDeployment): Promise<boolean> {
  const found = await hub.getDeployment(deployment.id).catch(absent('DEPLOYMENT_NOT_FOUND'));
  if (found === undefined) await hub.addDeployment(deployment);
  return found !== undefined;
}

/** For `catch`: makes nothing of one failure, and leaves all others. */
function absent(code: 'DEPLOYMENT_NOT_FOUND' | 'DEVICE_NOT_FOUND'): (error: unknown) => undefined {
  return (error) => {
    if (!isFerryError(error, code)) throw error;
  };
}
