import type { Json, KubeObject, LimitRange, Pod, Quota } from '../objects.ts';
import { amountOf } from '../quantity.ts';
import { apiVersionOf, kinds, type Resource } from '../resources.ts';
import { ApiError, forbidden } from '../status.ts';
import type { Store } from '../store.ts';
import { quantities, requestsOf } from './defaults.ts';

/** What an object takes of a namespace's quota: `pods`, `requests.cpu`, `count/deployments.apps`, … */
function usageOf(resource: Resource, object: KubeObject): Record<string, number> {
  const { group, plural } = resource;
  const usage: Record<string, number> = { [`count/${plural}${group === '' ? '' : `.${group}`}`]: 1 };
  if (group === '') usage[plural] = 1;
  if (resource === kinds.service) {
    const type = (object['spec'] as Json)['type'];
    if (type === 'LoadBalancer') usage['services.loadbalancers'] = 1;
    if (type !== 'ClusterIP') usage['services.nodeports'] = 1;
  }
  if (resource !== kinds.pod) return usage;
  const { spec, status } = object as unknown as Pod;
  // A pod that has ended takes nothing any more.
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return {};
  for (const which of ['requests', 'limits'] as const) {
    for (const [name, amount] of Object.entries(requestsOf(spec, which))) {
      usage[`${which}.${name}`] = amount;
      if (which === 'requests') usage[name] = amount;
    }
  }
  return usage;
}

/** Gives what of a quota is used now. */
export function usedOf(store: Store, quota: Quota, all: readonly Resource[]): Record<string, string> {
  const hard = quota.spec?.hard ?? {};
  const used = Object.fromEntries(Object.keys(hard).map((name) => [name, 0]));
  for (const resource of all) {
    for (const object of store.list(resource, quota.metadata.namespace)) {
      for (const [name, amount] of Object.entries(usageOf(resource, object))) {
        if (name in used) used[name] = (used[name] ?? 0) + amount;
      }
    }
  }
  return quantities(used);
}

/**
 * Checks a new object against the quotas of its namespace.
 * @throws {ApiError} 403 naming what was asked for, what is used and what there is
 */
export function checkQuota(store: Store, resource: Resource, object: KubeObject, all: readonly Resource[]): void {
  for (const quota of store.list<Quota>(kinds.quota, object.metadata.namespace)) {
    const hard = quota.spec?.hard ?? {};
    const asked = usageOf(resource, object);
    const missing = Object.keys(hard).filter(
      (name) => /^(?:requests|limits)\.|^cpu$|^memory$/.test(name) && !(name in asked),
    );
    if (resource === kinds.pod && missing.length > 0) {
      throw forbidden(
        resource,
        object.metadata.name,
        `failed quota: ${quota.metadata.name}: must specify ${missing.join(',')}`,
      );
    }
    const used = usedOf(store, quota, all);
    const over = Object.keys(asked).filter(
      (name) => name in hard && amountOf(used[name]) + (asked[name] ?? 0) > amountOf(hard[name]),
    );
    if (over.length === 0) continue;
    const list = (of: Readonly<Record<string, unknown>>): string =>
      over.map((name) => `${name}=${String(of[name])}`).join(',');
    const why = `exceeded quota: ${quota.metadata.name}, requested: ${list(quantities(asked))}, used: ${list(used)}, limited: ${list(hard)}`;
    throw forbidden(resource, object.metadata.name, why);
  }
}

/**
 * Gives a new pod's containers what the namespace's limit ranges say, and checks them.
 * @throws {ApiError} 403 when a container asks for less or more than it may
 */
export function applyLimitRanges(store: Store, pod: Pod): void {
  for (const range of store.list<LimitRange>(kinds.limitRange, pod.metadata.namespace)) {
    for (const item of range.spec?.limits ?? []) {
      if (item.type !== 'Container') continue;
      for (const container of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])]) {
        const resources = (container.resources ??= {});
        const limits = { ...item.default, ...resources.limits };
        const requests = { ...item.defaultRequest, ...resources.limits, ...resources.requests };
        if (Object.keys(limits).length > 0) resources.limits = limits;
        if (Object.keys(requests).length > 0) resources.requests = requests;
        for (const [name, max] of Object.entries(item.max ?? {})) {
          if (amountOf(limits[name]) <= amountOf(max) && limits[name] !== undefined) continue;
          const found = limits[name] === undefined ? 'no limit is specified' : `limit is ${limits[name]}`;
          throw forbidden(kinds.pod, pod.metadata.name, `maximum ${name} usage per Container is ${max}, but ${found}`);
        }
        for (const [name, min] of Object.entries(item.min ?? {})) {
          if (amountOf(requests[name]) >= amountOf(min)) continue;
          const found = requests[name] === undefined ? 'no request is specified' : `request is ${requests[name]}`;
          throw forbidden(kinds.pod, pod.metadata.name, `minimum ${name} usage per Container is ${min}, but ${found}`);
        }
      }
    }
  }
}

/**
 * Checks that a namespace takes new objects.
 * @throws {ApiError} 404 when it is not there, 403 when it is going
 */
export function checkNamespace(store: Store, resource: Resource, object: KubeObject): void {
  const { name, namespace } = object.metadata;
  const found = store.get(kinds.namespace, undefined, namespace ?? '');
  if (found.metadata.deletionTimestamp === undefined) return;
  const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
  const { details, message } = forbidden(resource, name, why);
  throw new ApiError(403, 'Forbidden', message, {
    ...details,
    causes: [
      {
        reason: 'NamespaceTerminating',
        message: `namespace ${namespace} is being terminated`,
        field: 'metadata.namespace',
      },
    ],
  });
}

/** The kinds that quotas count. */
export function countedBy(list: readonly Resource[]): readonly Resource[] {
  return list.filter((resource) => resource.namespaced && apiVersionOf(resource) !== 'coordination.k8s.io/v1');
}
