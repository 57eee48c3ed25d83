import type { NewDeployment } from '../../azure/hub-client.ts';
import type { HubConfiguration } from '../../azure/hub-resources.ts';
import { isDeepStrictEqual } from 'node:util';
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
  /** Whether the deployment wants it there and not running. */
  readonly isStopped: boolean;
  /** Id of the deployment that brings it; undefined where none does. */
  readonly from: string | undefined;
  /** Id of the deployment below, whose module of that name it takes the place of. */
  readonly over?: string | undefined;
  readonly change: 'new' | 'changed' | 'same' | 'gone';
}

/** What a device will run. */
export interface DevicePlan {
  readonly deviceId: string;
  readonly modules: readonly PlannedModule[];
  /** Whether the deployment that is planned has a part in it; else another one goes before it. */
  readonly isApplied: boolean;
}

/** What deployments say of modules, by name. */
type Wanted = Map<string, Pick<PlannedModule, 'over'> & { readonly module: unknown; readonly from: string }>;

const whole = 'properties.desired';
const modulesPath = ['properties', 'desired', 'modules'];

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
  const wanted: Wanted = new Map();
  for (const deployment of base === undefined ? [] : [base, ...layers]) layOver(wanted, deployment);
  const modules = [...wanted].map(([name, { module, from, over }]): PlannedModule => {
    const now = report.desiredModules[name];
    const change = now === undefined ? 'new' : isDeepStrictEqual(now, module) ? 'same' : 'changed';
    return { name, ...runOf(module), from, over, change };
  });
  const gone = Object.entries(report.desiredModules)
    .filter(([name]) => base !== undefined && !wanted.has(name))
    .map(([name, module]): PlannedModule => ({ name, ...runOf(module), from: undefined, change: 'gone' }));
  return {
    deviceId: report.deviceId,
    modules: [...modules, ...gone].toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    isApplied: base?.id === planned.id || layers.some(({ id }) => id === planned.id),
  };
}

/** Names the modules that a deployment brings, or changes. */
export function modulesIn(deployment: Deployment): string[] {
  const wanted: Wanted = new Map();
  layOver(wanted, deployment);
  return [...wanted.keys()];
}

/** Says whether a deployment only adds to what another one brings. */
export function isLayer(deployment: Pick<Deployment, 'content'>): boolean {
  return !Object.hasOwn(agentOf(deployment), whole);
}

function agentOf({ content }: Pick<Deployment, 'content'>): Readonly<Record<string, unknown>> {
  return (content?.modulesContent?.['$edgeAgent'] ?? {}) as Readonly<Record<string, unknown>>;
}

/** Lays what a deployment says of modules over what those below it say: each path takes the place of what is there, and leaves the rest. */
function layOver(wanted: Wanted, deployment: Deployment): void {
  const { id } = deployment;
  for (const [path, value] of Object.entries(agentOf(deployment))) {
    const [name, ...inner] = path.split('.').slice(modulesPath.length);
    if (path === whole || path === modulesPath.join('.')) {
      const modules = path === whole ? (value as { modules?: unknown }).modules : value;
      wanted.clear();
      for (const [each, module] of Object.entries(modules ?? {}))
        wanted.set(each, { module: module as unknown, from: id });
    } else if (name !== undefined && path.startsWith(`${modulesPath.join('.')}.`)) {
      const below = wanted.get(name);
      const module = withValue(below?.module, inner, value);
      // A part of a module changes it, and does not make it the layer's own.
      if (module === null) wanted.delete(name);
      else if (inner.length > 0 && below !== undefined) wanted.set(name, { ...below, module });
      else wanted.set(name, { module, from: id, over: below?.from });
    }
  }
}

/** Sets a part of a value; `null` takes it out. */
function withValue(value: unknown, [first, ...rest]: readonly string[], to: unknown): unknown {
  if (first === undefined) return to;
  const parts = { ...(value as Record<string, unknown> | undefined) };
  const part = withValue(parts[first], rest, to);
  if (part !== null) return { ...parts, [first]: part };
  const { [first]: _gone, ...left } = parts;
  return left;
}

function runOf(module: unknown): Pick<PlannedModule, 'image' | 'isStopped'> {
  const { settings, status } = (module ?? {}) as { settings?: { image?: unknown }; status?: unknown };
  const image = typeof settings?.image === 'string' ? settings.image : '(without an image)';
  return { image, isStopped: status === 'stopped' };
}

function byPriority(a: Deployment, b: Deployment): number {
  const difference = priorityOf(a) - priorityOf(b);
  return difference === 0 ? (a.createdTimeUtc ?? '').localeCompare(b.createdTimeUtc ?? '') : difference;
}

function priorityOf({ priority }: Pick<Deployment, 'priority'>): number {
  return priority ?? 0;
}
