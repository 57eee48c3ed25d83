import { type Json, type JsonObject, isObject } from '../json.ts';
import { mergePatch } from '../twins/twin.ts';
import { type Configuration, type TwinContent, isLayered } from './configuration.ts';

/** How far a configuration reaches a twin. */
export type Status = Readonly<Record<string, { readonly status: 'Applied' | 'Targeted' }>>;

/** What the deployments that target an IoT Edge device make of it. */
export interface Assignment {
  /** Module id → the desired properties it has to have; `undefined` when nothing is to be changed. */
  readonly desired: ReadonlyMap<string, JsonObject> | undefined;
  readonly status: Status;
}

/**
 * Merges the deployments that target one IoT Edge device: the base of highest priority (the latest of equal ones), and over it
 * every layered deployment of higher priority, from low to high.
 * @see https://learn.microsoft.com/azure/iot-edge/module-deployment-monitoring#layered-deployment
 */
export function assign(targeting: readonly Configuration[]): Assignment {
  const ordered = targeting.toSorted(byPriority);
  const base = ordered.findLast((configuration) => !isLayered(configuration));
  if (base === undefined) return { desired: undefined, status: statusOf(ordered, []) };
  const layers = ordered.filter((configuration) => isLayered(configuration) && configuration.priority > base.priority);
  const desired = new Map<string, JsonObject>();
  for (const { content } of [base, ...layers]) {
    for (const [moduleId, paths] of Object.entries(content.modulesContent ?? {})) {
      desired.set(moduleId, applyContent(desired.get(moduleId) ?? {}, paths));
    }
  }
  const contributing = layers.filter(
    ({ content }) => Object.keys(content.modulesContent?.['$edgeAgent'] ?? {}).length > 0,
  );
  return { desired, status: statusOf(ordered, [base, ...contributing]) };
}

/**
 * Merges the device (or module) configurations that target one twin: each sets its paths, from low to high priority; one whose
 * path a higher one sets too is only targeted.
 */
export function assignPaths(
  targeting: readonly { readonly configuration: Configuration; readonly paths: TwinContent }[],
  current: JsonObject,
): { readonly desired: JsonObject; readonly status: Status } {
  const ordered = targeting.toSorted((left, right) => byPriority(left.configuration, right.configuration));
  let desired = current;
  const owners = new Map<string, string>();
  for (const { configuration, paths } of ordered) {
    desired = applyContent(desired, paths);
    for (const path of Object.keys(paths)) owners.set(path, configuration.id);
  }
  const applied = ordered.filter(({ configuration, paths }) =>
    Object.keys(paths).every((path) => owners.get(path) === configuration.id),
  );
  return {
    desired,
    status: statusOf(
      ordered.map(({ configuration }) => configuration),
      applied.map(({ configuration }) => configuration),
    ),
  };
}

/** Sets paths in desired properties: `properties.desired` replaces all, a longer path its part; `null` removes. */
export function applyContent(desired: JsonObject, content: TwinContent): JsonObject {
  let result = desired;
  for (const [path, value] of Object.entries(content)) {
    const segments = path.split('.').slice(2);
    result = segments.length === 0 ? mergePatch({}, isObject(value) ? value : {}) : setAt(result, segments, value);
  }
  return result;
}

function setAt(value: JsonObject, [first = '', ...rest]: readonly string[], to: Json): JsonObject {
  const entries = new Map<string, Json>(Object.entries(value));
  const before = entries.get(first);
  if (rest.length > 0) entries.set(first, setAt(isObject(before) ? before : {}, rest, to));
  else if (to === null) entries.delete(first);
  else entries.set(first, isObject(to) ? mergePatch({}, to) : to);
  return Object.fromEntries(entries);
}

function byPriority(left: Configuration, right: Configuration): number {
  return left.priority - right.priority || left.sequence - right.sequence;
}

function statusOf(targeting: readonly Configuration[], applied: readonly Configuration[]): Status {
  return Object.fromEntries(
    targeting.map((configuration) => [
      configuration.id,
      { status: applied.includes(configuration) ? ('Applied' as const) : ('Targeted' as const) },
    ]),
  );
}
