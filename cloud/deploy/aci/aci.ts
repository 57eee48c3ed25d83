import type { ContainerGroup } from '@azure/arm-containerinstance';
import { z } from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import { openAzure } from '../../azure/azure-access.ts';
import { ContainerInstances } from '../../azure/container-instances.ts';
import { checkAnswer } from '../check-answer.ts';
import type { Deployer, DeployerContext, DeployOptions, DeployPlan, DesiredService } from '../deployer.ts';
import { scoreService } from '../score-service.ts';
import { credentialFor } from '../service-call.ts';
import type { ServiceRecord } from '../service-records.ts';
import type { ServiceStatus } from '../service-state.ts';
import { waitForService } from '../wait-for-service.ts';
import { addressOf, answersAt } from './aci-address.ts';
import { followLogs } from './aci-logs.ts';
import { aciState } from './aci-state.ts';
import {
  candidateName,
  candidateOf,
  containerGroup,
  containerName,
  contentTag,
  groupName,
  ownerTag,
  withoutSecrets,
} from './container-group.ts';
import { groupParts } from './group-parts.ts';

/** Where a service on ACI is. */
const placeSchema = z.object({ resourceGroup: z.string(), group: z.string(), location: z.string(), image: z.string() });

/** How long a change may take to prove itself beside the service, in milliseconds. */
const proofTimeoutMs = 10 * 60_000;
/** Lines of output that say why a container ended. */
const reasonLines = 10;

/**
 * Opens the deployer of Azure Container Instances: a service is one container group of the workspace's resource group, or of the compute's.
 * @throws {FerryError} ENDPOINT_MISSING when the workspace has no subscription
 */
export async function openAci({ workspace, compute, signal }: DeployerContext): Promise<Deployer> {
  const access = await openAzure(workspace);
  const own = compute?.kind === 'containerInstances' ? compute : undefined;
  const resourceGroup = own?.resourceGroup ?? workspace.config.resourceGroup;
  const instances = await ContainerInstances.open(access, { resourceGroup, signal });
  const wantedGroup = async (desired: DesiredService) => {
    const location = desired.settings.location ?? own?.location ?? access.region ?? (await instances.region());
    const parts = await groupParts(workspace, desired, { location, signal });
    return { parts, group: containerGroup(desired, parts) };
  };
  return {
    async check(desired) {
      checkSettings(desired);
      const { group } = await wantedGroup(desired);
      checkOwner(await instances.find(groupName(desired.name)), group, desired.name);
    },
    async plan(desired) {
      const { group } = await wantedGroup(desired);
      return planOf(desired, { before: await instances.find(groupName(desired.name)), group });
    },
    async apply(desired, _current, options) {
      const { group, parts } = await wantedGroup(desired);
      await applyGroup(instances, desired, group, options);
      return { resourceGroup, group: groupName(desired.name), location: parts.location, image: parts.image };
    },
    observe: ({ deployment, settings }) => observeGroup(instances, placeSchema.parse(deployment).group, settings),
    logs: ({ deployment }, options) => followLogs(instances, placeSchema.parse(deployment).group, options),
    remove: ({ name }) => removeGroups(instances, name),
    async [Symbol.asyncDispose]() {},
  };
}

/** Brings a group about, whatever there is: see "ACI" in the folder's README. */
async function applyGroup(
  instances: ContainerInstances,
  desired: DesiredService,
  group: ContainerGroup,
  options: DeployOptions,
): Promise<void> {
  const name = groupName(desired.name);
  const before = await instances.find(name);
  checkOwner(before, group, desired.name);
  if (before !== undefined && isAsWanted(before, group)) return;
  if (before !== undefined && isProofNeeded(before, group)) await prove(instances, desired, group, options);
  if (before !== undefined && !fitsInPlace(before, group)) {
    options.note(`${name}: Azure does not change processors and memory in place: the group is made anew`);
    await instances.remove(name);
  }
  await instances.put(name, group);
}

/** Runs a change beside the service, under an address of its own, until it is Healthy and gives the sample's answer. */
async function prove(
  instances: ContainerInstances,
  desired: DesiredService,
  group: ContainerGroup,
  { note, signal }: DeployOptions,
): Promise<void> {
  const { name, settings, secrets, sample } = desired;
  const candidate = candidateName(name);
  note(`${name}: trying it in the container group "${candidate}" first`);
  try {
    await instances.remove(candidate);
    await instances.put(candidate, candidateOf(group));
    const status = await waitForService({
      name,
      timeoutMs: proofTimeoutMs,
      signal,
      note,
      observe: () => observeGroup(instances, candidate, settings),
    });
    if (sample === undefined || status.address === undefined) return;
    const answer = await scoreService({
      service: name,
      input: JSON.stringify(sample.input),
      address: status.address,
      ...credentialFor({ name, settings }, secrets),
      timeoutMs: settings.scoringTimeoutMs,
      signal,
    });
    if (sample.output !== null) checkAnswer(name, { expected: sample.output, answer });
  } finally {
    // Left behind by a command that was cut short, it goes with the next one.
    if (!signal.aborted) await instances.remove(candidate);
  }
}

async function observeGroup(
  instances: ContainerInstances,
  name: string,
  settings: Pick<ServiceRecord['settings'], 'tlsCertificateFile'>,
): Promise<ServiceStatus> {
  const group = await instances.find(name);
  const address =
    group === undefined ? undefined : await addressOf(group, { isTls: settings.tlsCertificateFile !== undefined });
  const isRunning = group?.containers[0]?.instanceView?.currentState?.state === 'Running';
  const answers = isRunning && address !== undefined ? await answersAt(address) : undefined;
  const output = group === undefined || answers === true ? '' : await instances.logs(name, containerName, reasonLines);
  const state = aciState({ group, output, answers });
  return {
    ...state,
    ...(address === undefined ? {} : { address }),
    instances: group === undefined ? [] : [{ name: `${name}/${containerName}`, ...state, details: detailsOf(group) }],
  };
}

function detailsOf(group: ContainerGroup): Record<string, unknown> {
  const view = group.containers[0]?.instanceView;
  return {
    provisioningState: group.provisioningState,
    restarts: view?.restartCount,
    ip: group.ipAddress?.ip,
    fqdn: group.ipAddress?.fqdn,
    image: group.containers[0]?.image,
  };
}

async function removeGroups(instances: ContainerInstances, service: string): Promise<string[]> {
  const names = [candidateName(service), groupName(service)];
  const removed: string[] = [];
  for (const name of names) if (await instances.remove(name)) removed.push(`the container group "${name}"`);
  return removed;
}

function planOf(
  { name }: DesiredService,
  { before, group }: { readonly before: ContainerGroup | undefined; readonly group: ContainerGroup },
): DeployPlan {
  const label = group.ipAddress?.dnsNameLabel;
  const steps =
    before === undefined
      ? [`make the container group "${groupName(name)}" in ${group.location}, with the DNS label "${label}"`]
      : isAsWanted(before, group)
        ? []
        : [
            ...(isProofNeeded(before, group) ? [`try it in the container group "${candidateName(name)}"`] : []),
            ...(fitsInPlace(before, group) ? [] : [`remove the container group "${groupName(name)}"`]),
            `${fitsInPlace(before, group) ? 'change' : 'make'} the container group "${groupName(name)}"`,
          ];
  return { steps, documents: [withoutSecrets(group)] };
}

/** @throws {FerryError} SERVICE_EXISTS when the group belongs to somebody else */
function checkOwner(before: ContainerGroup | undefined, group: ContainerGroup, service: string): void {
  if (before === undefined || before.tags?.[ownerTag] === group.tags?.[ownerTag]) return;
  throw new FerryError(
    'SERVICE_EXISTS',
    `Cannot deploy the service "${service}": the resource group has a container group "${before.name}" that is not this service's`,
    { next: 'Give the service another name, or its compute another resource group.' },
  );
}

function checkSettings({ name, settings }: DesiredService): void {
  const { cpuCores, memoryGb, gpuCores } = settings;
  // container-instances-resource-and-quota-limits; GPU containers ended on 2025-07-14.
  const problems = [
    cpuCores < 0.01 || cpuCores > 31 ? `processors ${cpuCores}, 0.01 to 31 were wanted` : undefined,
    memoryGb < 0.1 || memoryGb > 240 ? `memory ${memoryGb} GB, 0.1 to 240 were wanted` : undefined,
    gpuCores > 0 ? `number of GPUs ${gpuCores}, ACI has none any more` : undefined,
  ].filter((problem) => problem !== undefined);
  if (problems.length === 0) return;
  throw new FerryError('SERVICE_INVALID', `Cannot deploy the service "${name}" to aci: ${problems.join('; ')}`);
}

function isAsWanted(before: ContainerGroup, group: ContainerGroup): boolean {
  const isGood = before.provisioningState !== 'Failed' && before.instanceView?.state !== 'Stopped';
  return isGood && before.tags?.[contentTag] === group.tags?.[contentTag];
}

/** New secrets alone need no proof; and where nothing runs, there is nothing to spare. */
function isProofNeeded(before: ContainerGroup, group: ContainerGroup): boolean {
  const [old, wanted] = [before.containers[0], group.containers[0]];
  const variables = (of: typeof old) =>
    JSON.stringify((of?.environmentVariables ?? []).map(({ name, value }) => `${name}=${value ?? ''}`).toSorted());
  const isSame = old?.image === wanted?.image && variables(old) === variables(wanted) && fitsInPlace(before, group);
  return !isSame && old?.instanceView?.currentState?.state === 'Running';
}

/** Azure refuses changes of these (container-instances-update, "Properties that require container delete"). */
function fitsInPlace(before: ContainerGroup, group: ContainerGroup): boolean {
  const fixed = ({ location, containers }: ContainerGroup): string => {
    const { cpu, memoryInGB } = containers[0]?.resources.requests ?? {};
    return `${location} ${cpu} ${memoryInGB}`;
  };
  return fixed(before) === fixed(group);
}
