import { type Json, type KubeObject, type Namespace, type Pod } from '../objects.ts';
import { kinds, type Resource, resources } from '../resources.ts';
import { forbidden } from '../status.ts';
import type { Store } from '../store.ts';
import { requestsOf } from './defaults.ts';
import { enforceLabel, violations } from './pod-security.ts';
import { applyLimitRanges, checkNamespace, checkQuota, countedBy } from './quota.ts';

const counted = countedBy(resources);
const warnLabel = 'pod-security.kubernetes.io/warn';

/** What is changed in a new object on its way in, before it is checked. */
export function mutate(store: Store, resource: Resource, object: KubeObject): void {
  if (resource !== kinds.pod || object['spec'] === undefined) return;
  const pod = object as unknown as Pod;
  pod.spec.serviceAccountName ??= 'default';
  pod.spec.serviceAccount = pod.spec.serviceAccountName;
  pod.spec.enableServiceLinks ??= true;
  pod.spec.priority ??= 0;
  pod.spec.preemptionPolicy ??= 'PreemptLowerPriority';
  const tolerations = (pod.spec.tolerations ??= []);
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    if (tolerations.some((one) => one.key === key)) continue;
    tolerations.push({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 });
  }
  applyLimitRanges(store, pod);
  pod.status = { phase: 'Pending', qosClass: qosClassOf(pod) };
}

/**
 * Decides whether a new object may be.
 * @returns warnings for its writer
 * @throws {ApiError} 403, 404
 */
export function admit(store: Store, resource: Resource, object: KubeObject): string[] {
  if (!resource.namespaced) return [];
  checkNamespace(store, resource, object);
  const namespace = store.get<Namespace>(kinds.namespace, undefined, object.metadata.namespace ?? '');
  const labels = namespace.metadata.labels ?? {};
  if (resource === kinds.pod) {
    const { spec } = object as unknown as Pod;
    const level = labels[enforceLabel] ?? 'privileged';
    const found = violations(level, spec);
    if (found.length > 0) {
      throw forbidden(resource, object.metadata.name, `violates PodSecurity "${level}:latest": ${found.join(', ')}`);
    }
    const account = spec.serviceAccountName ?? 'default';
    if (store.find(kinds.serviceAccount, object.metadata.namespace, account) === undefined) {
      const why = `error looking up service account ${object.metadata.namespace}/${account}: serviceaccount "${account}" not found`;
      throw forbidden(resource, object.metadata.name, why);
    }
  }
  if (counted.includes(resource)) checkQuota(store, resource, object, counted);
  return templateWarnings(labels, object);
}

/** A template that no pod could be made of is taken, with a warning, as a cluster does. */
function templateWarnings(labels: Readonly<Record<string, string>>, object: KubeObject): string[] {
  const spec = (object['spec'] as Json | undefined)?.['template'] as { spec?: Pod['spec'] } | undefined;
  const level = labels[warnLabel] ?? labels[enforceLabel];
  if (spec?.spec === undefined || level === undefined) return [];
  const found = violations(level, spec.spec);
  return found.length === 0 ? [] : [`would violate PodSecurity "${level}:latest": ${found.join(', ')}`];
}

function qosClassOf({ spec }: Pod): 'BestEffort' | 'Burstable' | 'Guaranteed' {
  const requests = requestsOf(spec);
  const limits = requestsOf(spec, 'limits');
  if (Object.keys(requests).length === 0 && Object.keys(limits).length === 0) return 'BestEffort';
  const isGuaranteed = spec.containers.every(({ resources }) =>
    ['cpu', 'memory'].every(
      (name) => resources?.limits?.[name] !== undefined && resources.requests?.[name] === resources.limits[name],
    ),
  );
  return isGuaranteed ? 'Guaranteed' : 'Burstable';
}
