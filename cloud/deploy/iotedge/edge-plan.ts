import type { NewDeployment } from '../../azure/hub-client.ts';
import type { HubConfiguration } from '../../azure/hub-resources.ts';
import type { DeviceReport } from './device-report.ts';

/** A deployment as far as it decides which modules a device runs. */
interface Deployment extends Pick<HubConfiguration, 'id' | 'priority' | 'createdTimeUtc'> {
  readonly content?:
    | { readonly modulesContent?: Readonly<Record<string, unknown>> | null | undefined }
    | null
    | undefined;
}

/** A module that a device will run. */
export interface PlannedModule {
  readonly name: string;
  readonly image: string;
  /** Id of the deployment that brings it; undefined where none does. */
  readonly from: string | undefined;
  readonly change: 'new' | 'changed' | 'same' | 'gone';
}

/** What a device will run. */
export interface DevicePlan {
  readonly deviceId: string;
  readonly modules: readonly PlannedModule[];
  /** Whether the deployment that is planned has a part in it; else another one goes before it. */
  readonly isApplied: boolean;
}

const whole = 'properties.desired';
const modulePath = /^properties\.desired\.modules\.([^.]+)$/;

/**
 * Works out what a device will run once a deployment is there: the whole deployment of the highest priority, of two equal ones the newer, and
 * over it every layer of a higher priority, from low to high.
 * @param deployments all that there are in the hub
 * @param before id of the deployment that the planned one takes the place of
 */
export function planDevice(
  report: DeviceReport,
  planned: NewDeployment,
  { deployments, before }: { readonly deployments: readonly Deployment[]; readonly before?: string | undefined },
): DevicePlan {
  const others = deployments.filter(
    ({ id }) => Object.hasOwn(report.deployments, id) && id !== planned.id && id !== before,
  );
  // It is newer than all others.
  const all: Deployment[] = [...others, { ...planned, createdTimeUtc: '9999' }];
  const base = all
    .filter((deployment) => !isLayer(deployment))
    .toSorted(byPriority)
    .at(-1);
  const layers =
    base === undefined
      ? []
      : all
          .filter((deployment) => isLayer(deployment) && priorityOf(deployment) > priorityOf(base))
          .toSorted(byPriority);
  const wanted = new Map<string, { readonly image: string; readonly from: string }>();
  for (const deployment of base === undefined ? [] : [base, ...layers]) {
    for (const [name, image] of modulesOf(deployment)) wanted.set(name, { image, from: deployment.id });
  }
  const modules = [...wanted].map(([name, { image, from }]): PlannedModule => {
    const now = report.desiredImages[name];
    return { name, image, from, change: now === undefined ? 'new' : now === image ? 'same' : 'changed' };
  });
  const gone = Object.entries(report.desiredImages)
    .filter(([name]) => base !== undefined && !wanted.has(name))
    .map(([name, image]): PlannedModule => ({ name, image, from: undefined, change: 'gone' }));
  return {
    deviceId: report.deviceId,
    modules: [...modules, ...gone].toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    isApplied: base?.id === planned.id || layers.some(({ id }) => id === planned.id),
  };
}

/** Says whether a deployment only adds to what another one brings. */
export function isLayer(deployment: Pick<Deployment, 'content'>): boolean {
  return !Object.hasOwn(agentOf(deployment), whole);
}

function agentOf({ content }: Pick<Deployment, 'content'>): Readonly<Record<string, unknown>> {
  return (content?.modulesContent?.['$edgeAgent'] ?? {}) as Readonly<Record<string, unknown>>;
}

function modulesOf(deployment: Deployment): [string, string][] {
  const agent = agentOf(deployment);
  const named = Object.entries(agent).flatMap(([path, module]): [string, unknown][] => {
    const [, name] = modulePath.exec(path) ?? [];
    return name === undefined ? [] : [[name, module]];
  });
  const { modules = {} } = (agent[whole] ?? {}) as { modules?: Readonly<Record<string, unknown>> };
  return [...Object.entries(modules), ...named].flatMap(([name, module]): [string, string][] => {
    const { image } = (module as { settings?: { image?: unknown } }).settings ?? {};
    return typeof image === 'string' ? [[name, image]] : [];
  });
}

function byPriority(a: Deployment, b: Deployment): number {
  const difference = priorityOf(a) - priorityOf(b);
  return difference === 0 ? (a.createdTimeUtc ?? '').localeCompare(b.createdTimeUtc ?? '') : difference;
}

function priorityOf({ priority }: Pick<Deployment, 'priority'>): number {
  return priority ?? 0;
}
