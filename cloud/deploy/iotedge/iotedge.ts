import { z } from 'zod';
import { FerryError, isFerryError } from '../../../shared/errors.ts';
import { HubClient, type NewDeployment } from '../../azure/hub-client.ts';
import type { Deployer, DeployerContext, DeployOptions, DeployPlan, Deployment, DesiredService } from '../deployer.ts';
import { findAcceleratorImage } from '../accelerator-image.ts';
import { findPublishedImage } from '../published-image.ts';
import type { ServiceRecord } from '../service-records.ts';
import type { ServiceStatus } from '../service-state.ts';
import { parseCarriedModules } from './carried-modules.ts';
import { withoutPasswords } from './deployment-content.ts';
import { deviceReportOf } from './device-report.ts';
import { checkDevices } from './edge-conflicts.ts';
import { acceleratorModule, conditionOf, edgeAddress, edgeDeployment } from './edge-deployment.ts';
import { modulesIn, planDevice } from './edge-plan.ts';
import { edgeServiceState } from './edge-state.ts';
import { withoutModules } from './without-modules.ts';

/** Where a service on IoT Edge is in its hub. */
const placeSchema = z.object({
  hub: z.string(),
  id: z.string(),
  image: z.string(),
  /** Names of the modules that came with it. */
  carried: z.array(z.string()).default([]),
});

/** Opens the deployer of IoT Edge. @throws {FerryError} ENDPOINT_MISSING when the workspace has no hub */
export async function openIotEdge({ workspace, signal }: DeployerContext): Promise<Deployer> {
  const hub = await HubClient.open(workspace, signal);
  const deploymentOf = async (desired: DesiredService): Promise<ServiceDeployment> => {
    const image = await findPublishedImage(workspace, desired.image, signal);
    const { acceleratorImage: runtime } = desired.settings;
    const acceleratorImage = runtime === undefined ? undefined : await findAcceleratorImage(workspace, runtime, signal);
    const { modules } = desired.secrets;
    const carried =
      modules === undefined ? undefined : parseCarriedModules(desired.settings.modulesFile ?? '', modules);
    const deployment = edgeDeployment({ ...desired, image, acceleratorImage, carried });
    return { deployment, image, carried: Object.keys(carried?.modules ?? {}) };
  };
  return {
    async check(desired, current, options) {
      const { deployment } = await deploymentOf(desired);
      await checkCondition(hub, deployment);
      await checkDevices(hub, deployment, {
        ...options,
        modules: modulesIn(deployment),
        platform: desired.image.platform,
        ...(current?.target.kind === 'iotedge' && { before: placeSchema.parse(current.deployment).id }),
      });
    },
    plan: async (desired, current) => planOf(hub, (await deploymentOf(desired)).deployment, current),
    apply: async (desired, current) => applyDeployment(hub, await deploymentOf(desired), current),
    observe: (record) => observeEdgeService(hub, record),
    // eslint-disable-next-line require-yield
    async *logs({ name }) {
      throw new FerryError('USAGE', `Cannot read the log of "${name}": a module keeps its own on its device`, {
        next: "Ask the device's agent: the method GetModuleLogs of $edgeAgent, or `ferry agent status` there.",
      });
    },
    remove: (record, options) => removeEdgeService(hub, record, options),
    [Symbol.asyncDispose]: async () => hub[Symbol.dispose](),
  };
}

/** A service's deployment, and what is remembered of it. */
interface ServiceDeployment extends Omit<z.infer<typeof placeSchema>, 'hub' | 'id'> {
  readonly deployment: NewDeployment;
}

async function applyDeployment(
  hub: HubClient,
  { deployment, image, carried }: ServiceDeployment,
  current: ServiceRecord | undefined,
): Promise<Deployment> {
  // One of the same id is the same deployment, left there when a program was killed before it could record the service.
  const found = await hub.getDeployment(deployment.id).catch(absent('DEPLOYMENT_NOT_FOUND'));
  if (found === undefined) await hub.addDeployment(deployment);
  const before = current === undefined ? undefined : placeSchema.parse(current.deployment).id;
  // Of two equal ones the hub takes the newer: devices go from one to the other in one step, and the older is never missed.
  if (before !== undefined && before !== deployment.id) {
    await hub.removeDeployment(before).catch(absent('DEPLOYMENT_NOT_FOUND'));
  }
  return { hub: hub.hostName, id: deployment.id, image, ...(carried.length > 0 && { carried }) };
}

async function planOf(
  hub: HubClient,
  { id, targetCondition, priority, content, labels }: NewDeployment,
  current: ServiceRecord | undefined,
): Promise<DeployPlan> {
  const deployment = { id, targetCondition, priority, content, labels };
  const before = current === undefined ? undefined : placeSchema.parse(current.deployment).id;
  const steps = [
    ...(before === id ? [] : [`add the deployment "${id}" for "${targetCondition}", priority ${priority}`]),
    ...(before === undefined || before === id ? [] : [`remove the deployment "${before}"`]),
  ];
  const targeted = new Set((await hub.findEdgeDevices(targetCondition)).map(({ deviceId }) => deviceId));
  const reports = (await hub.listEdgeAgents()).filter(({ deviceId }) => targeted.has(deviceId)).map(deviceReportOf);
  const known = { deployments: await hub.listDeployments(), before };
  const places = reports.map((report) => {
    const { deviceId, modules, isApplied } = planDevice(report, deployment, known);
    const runs = modules.map(
      ({ name, image, isStopped, from, change }) =>
        `${change} ${name} ${image}${isStopped ? ', stopped' : ''}${from === undefined ? '' : ` (${from})`}`,
    );
    return { name: deviceId, runs: isApplied ? runs : [...runs, `not ${id}: another deployment goes before it`] };
  });
  return { steps, documents: [{ id, targetCondition, priority, content: withoutPasswords(content) }], places };
}

/** Asks the hub how the service is on its devices. */
async function observeEdgeService(hub: HubClient, record: ServiceRecord): Promise<ServiceStatus> {
  const { name, settings } = record;
  const { id, image, carried } = placeSchema.parse(record.deployment);
  const found = await hub.getDeployment(id).catch(absent('DEPLOYMENT_NOT_FOUND'));
  const twins = found === undefined ? [] : await hub.listTargetedEdgeAgents(id);
  const { devices, ...state } = edgeServiceState({
    name,
    image,
    carried,
    deploymentId: id,
    targetCondition: conditionOf(settings),
    targetedCount: found && Math.max(found.systemMetrics?.results?.['targetedCount'] ?? 0, twins.length),
    reports: twins.map(deviceReportOf),
  });
  return {
    ...state,
    address: edgeAddress(settings),
    instances: devices.map(({ deviceId, connected, module, ...report }) => ({
      name: deviceId,
      ...report,
      details: { connected, ...(module && { module }) },
    })),
  };
}

/**
 * Removes the deployment of a service, then its module from every device that no other deployment takes over. A hub leaves devices without a
 * deployment as they are, so the module is taken out of their desired properties. Cut short at any line, a second call finishes it.
 */
async function removeEdgeService(
  hub: HubClient,
  { name, deployment, settings }: ServiceRecord,
  { signal }: DeployOptions,
): Promise<string[]> {
  const { id, image, carried } = placeSchema.parse(deployment);
  await hub.removeDeployment(id).catch(absent('DEPLOYMENT_NOT_FOUND'));
  const names = [name, ...(settings.acceleratorImage === undefined ? [] : [acceleratorModule(name)]), ...carried];
  const removed = [`the deployment "${id}"`];
  for (const twin of await hub.listEdgeAgents()) {
    signal.throwIfAborted();
    const report = deviceReportOf(twin);
    const others = Object.keys(report.deployments).filter((other) => other !== id);
    if (report.desiredImages[name] !== image || others.length > 0) continue;
    const taken = await hub
      .applyToDevice(twin.deviceId, withoutModules(twin, names))
      .then(() => true, absent('DEVICE_NOT_FOUND'));
    if (taken === true) removed.push(`the ${carried.length > 0 ? 'modules' : 'module'} on "${twin.deviceId}"`);
  }
  return removed;
}

async function checkCondition(hub: HubClient, { id, targetCondition }: NewDeployment): Promise<void> {
  const problem = await hub.testTargetCondition(targetCondition);
  if (problem === undefined) return;
  throw new FerryError(
    'DEPLOYMENT_INVALID',
    `Cannot make the deployment "${id}": the hub does not understand the target condition "${targetCondition}": ${problem}`,
  );
}

/** For `catch`: makes nothing of one failure, and leaves all others. */
function absent(code: 'DEPLOYMENT_NOT_FOUND' | 'DEVICE_NOT_FOUND'): (error: unknown) => undefined {
  return (error) => {
    if (!isFerryError(error, code)) throw error;
  };
}
