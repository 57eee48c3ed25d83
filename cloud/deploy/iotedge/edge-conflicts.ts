import { FerryError } from '../../../shared/errors.ts';
import type { HubClient, NewDeployment } from '../../azure/hub-client.ts';
import type { HubConfiguration } from '../../azure/hub-resources.ts';
import { type DevicePlan, isLayer, planDevice } from './edge-plan.ts';
import { type DeviceReport, deviceReportOf } from './device-report.ts';

/** What a deployment is about to do, beside what it says itself. */
export interface CheckDevicesOptions {
  /** Whether modules that devices have now may go. */
  readonly replace: boolean;
  readonly note: (line: string) => void;
  /** The modules that the deployment brings. */
  readonly modules: readonly string[];
  /** Platform of its image: `linux/amd64`. */
  readonly platform: string;
  /** Id of the deployment that this one takes the place of. */
  readonly before?: string;
}

/** How many devices one message names. */
const devicesNamedMax = 3;

/**
 * Looks at the devices that a deployment means: whether it would be the one that applies, whether modules that they run now would
 * go, and whether they can run its image. A hub gives a device one whole deployment only, the one of the highest priority, of
 * two equal ones the newer.
 * @throws {FerryError} DEPLOYMENT_INVALID naming all that stands in the way
 */
export async function checkDevices(
  hub: HubClient,
  deployment: NewDeployment,
  options: CheckDevicesOptions,
): Promise<void> {
  const targeted = new Set((await hub.findEdgeDevices(deployment.targetCondition)).map(({ deviceId }) => deviceId));
  if (targeted.size === 0) {
    options.note(`No device matches "${deployment.targetCondition}" yet; those that do later get it then.`);
    return;
  }
  const reports = (await hub.listEdgeAgents()).filter(({ deviceId }) => targeted.has(deviceId)).map(deviceReportOf);
  const deployments = await hub.listDeployments();
  const plans = reports.map((report) => planDevice(report, deployment, { deployments, before: options.before }));
  const problems = isLayer(deployment)
    ? [
        ...notLaidOver(deployment, plans),
        ...hiddenModules(
          deployment,
          plans.filter(({ isApplied }) => isApplied),
          { ...options, ownIds: deployments.filter((other) => isOfOneService(other, deployment)).map(({ id }) => id) },
        ),
        ...wrongArchitectures(reports, options.platform),
      ]
    : [
        ...higherDeployments(
          deployment,
          reports,
          deployments.filter(({ id }) => id !== options.before),
        ),
        ...(options.replace ? [] : lostModules([deployment.id, options.before], reports, options.modules)),
        ...wrongArchitectures(reports, options.platform),
      ];
  if (problems.length === 0) return;
  throw new FerryError('DEPLOYMENT_INVALID', `Cannot make the deployment "${deployment.id}": ${problems.join('; ')}`);
}

/** A layer needs a deployment below it. */
function notLaidOver(deployment: NewDeployment, plans: readonly DevicePlan[]): string[] {
  const left = plans.filter(({ isApplied }) => !isApplied);
  if (left.length === 0) return [];
  return [
    `${namesOf(left)} would not get it: a layer lies over a whole deployment of a lower priority, and there is none below ${deployment.priority}`,
  ];
}

/** A service has more than one deployment while a rollout or an update is under way. */
function isOfOneService({ labels }: HubConfiguration, { labels: own }: NewDeployment): boolean {
  return own['service'] !== undefined && labels?.['service'] === own['service'];
}

/**
 * Of modules of one name the highest deployment's is run: a layer hides those below it, and is hidden by those above it. The service's own may hide
 * each other.
 */
function hiddenModules(
  { id }: NewDeployment,
  plans: readonly DevicePlan[],
  {
    modules,
    replace,
    ownIds,
  }: Pick<CheckDevicesOptions, 'modules' | 'replace'> & { readonly ownIds: readonly string[] },
): string[] {
  const isOwn = (other: string | undefined): boolean => other === id || (other !== undefined && ownIds.includes(other));
  const problems = plans.flatMap((plan) =>
    plan.modules
      .flatMap(({ name, from, over }) => {
        if (!modules.includes(name)) return [];
        if (!isOwn(from)) return [`the module "${name}" of "${from}" goes before that of "${id}"`];
        return over === undefined || isOwn(over) || replace
          ? []
          : [`the module "${name}" of "${over}" would be hidden, --replace was wanted to allow that`];
      })
      .map((problem) => ({ problem, deviceId: plan.deviceId })),
  );
  const byProblem = Map.groupBy(problems, ({ problem }) => problem);
  return [...byProblem].map(([problem, devices]) => `on ${namesOf(devices)} ${problem}`);
}

function higherDeployments(
  { priority, id }: NewDeployment,
  reports: readonly DeviceReport[],
  deployments: readonly HubConfiguration[],
): string[] {
  return deployments
    .filter((other) => other.id !== id && !isLayer(other) && (other.priority ?? 0) > priority)
    .flatMap((other) => {
      const devices = reports.filter((report) => report.deployments[other.id] === 'Applied');
      if (devices.length === 0) return [];
      return [
        `the deployment "${other.id}" has ${namesOf(devices)} with priority ${other.priority}, a --priority of as much at least was wanted`,
      ];
    });
}

function lostModules(
  own: readonly (string | undefined)[],
  reports: readonly DeviceReport[],
  modules: readonly string[],
): string[] {
  const lost = new Map<string, DeviceReport[]>();
  for (const report of reports) {
    if (own.some((id) => id !== undefined && report.deployments[id] === 'Applied')) continue;
    for (const name of Object.keys(report.desiredImages)) {
      if (!modules.includes(name)) lost.set(name, [...(lost.get(name) ?? []), report]);
    }
  }
  return [...lost].map(
    ([name, devices]) => `the module "${name}" would go from ${namesOf(devices)}, --replace was wanted to allow that`,
  );
}

/** Names of architectures as `uname -m` and IoT Edge have them, by OCI's names. */
const architectures: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  x64: 'amd64',
  amd64: 'amd64',
  aarch64: 'arm64',
  arm64: 'arm64',
};

/** A device that has not said yet what it is, or says what is not known here, is taken at its word later, when it pulls. */
function wrongArchitectures(reports: readonly DeviceReport[], platform: string): string[] {
  const wanted = platform.split('/')[1];
  const wrong = reports.filter(({ architecture }) => {
    const found = architecture === undefined ? undefined : architectures[architecture];
    return found !== undefined && found !== wanted;
  });
  if (wrong.length === 0) return [];
  return [`${namesOf(wrong)} cannot run the image: it is for ${platform}, not for ${wrong[0]?.architecture}`];
}

function namesOf(reports: readonly { readonly deviceId: string }[]): string {
  const names = reports.slice(0, devicesNamedMax).map(({ deviceId }) => `"${deviceId}"`);
  const more = reports.length - names.length;
  return more > 0 ? `${names.join(', ')} and ${more} more` : names.join(', ');
}
