import { countedBy, usedOf } from '../admission/quota.ts';
import { type ClusterState, withCondition } from '../cluster-state.ts';
import {
  controllerOf,
  type DisruptionBudget,
  isSame,
  type Namespace,
  type Pod,
  type Quota,
  type ReplicaSet,
} from '../objects.ts';
import { dependentsOf, foregroundFinalizer, remove } from '../remover.ts';
import { kinds, resources } from '../resources.ts';
import { matches } from '../selectors.ts';
import { isReady } from './replica-set.ts';

const manager = { name: 'kube-controller-manager', operation: 'Update' } as const;

/** Deletes what belongs to an object that is gone, and lets go of objects that waited for what belongs to them. */
export function collectGarbage({ store }: ClusterState): void {
  const all = resources.flatMap((resource) => store.list(resource).map((object) => ({ resource, object })));
  const uids = new Set(all.map(({ object }) => object.metadata.uid));
  for (const { resource, object } of all) {
    const { ownerReferences = [], deletionTimestamp, finalizers = [] } = object.metadata;
    const isOrphan = ownerReferences.length > 0 && ownerReferences.every(({ uid }) => !uids.has(uid));
    if (isOrphan && deletionTimestamp === undefined) remove(store, resource, object);
    if (deletionTimestamp === undefined || !finalizers.includes(foregroundFinalizer)) continue;
    const dependents = dependentsOf(store, object.metadata.uid);
    for (const one of dependents) {
      if (one.object.metadata.deletionTimestamp === undefined)
        remove(store, one.resource, one.object, { propagation: 'Foreground' });
    }
    if (dependents.length > 0) continue;
    const left = finalizers.filter((name) => name !== foregroundFinalizer);
    const freed = store.replace(resource, { ...object, metadata: { ...object.metadata, finalizers: left } });
    // A pod goes when its node says that its containers have ended.
    const isEnding = resource === kinds.pod && (object.metadata.deletionGracePeriodSeconds ?? 0) > 0;
    if (left.length === 0 && !isEnding) store.remove(resource, freed);
  }
}

/** Gives each namespace what it has from the start, and takes away those that are going once they are empty. */
export function syncNamespaces({ store, writer }: ClusterState, caPem: string): void {
  for (const namespace of store.list<Namespace>(kinds.namespace)) {
    const { name, deletionTimestamp } = namespace.metadata;
    if (deletionTimestamp === undefined) {
      if (store.find(kinds.serviceAccount, name, 'default') === undefined) {
        writer.create(kinds.serviceAccount, { metadata: { name: 'default' } }, { manager, namespace: name });
      }
      if (store.find(kinds.configMap, name, 'kube-root-ca.crt') === undefined) {
        const map = { metadata: { name: 'kube-root-ca.crt' }, data: { 'ca.crt': caPem } };
        writer.create(kinds.configMap, map, { manager, namespace: name });
      }
      continue;
    }
    const content = resources
      .filter(({ namespaced }) => namespaced)
      .flatMap((resource) => store.list(resource, name).map((object) => ({ resource, object })));
    for (const { resource, object } of content) {
      if (object.metadata.deletionTimestamp === undefined) remove(store, resource, object);
    }
    if (content.length === 0) store.remove(kinds.namespace, namespace);
  }
}

/** Writes what is used of each quota. */
export function syncQuotas(state: ClusterState): void {
  const counted = countedBy(resources);
  for (const quota of state.store.list<Quota>(kinds.quota)) {
    state.setStatus(kinds.quota, quota, { hard: quota.spec?.hard ?? {}, used: usedOf(state.store, quota, counted) });
  }
}

/** Writes how many pods of each budget may be disturbed now. */
export function syncBudgets(state: ClusterState): void {
  for (const budget of state.store.list<DisruptionBudget>(kinds.budget)) {
    const pods = state.store
      .list<Pod>(kinds.pod, budget.metadata.namespace)
      .filter(
        (pod) => matches(budget.spec?.selector, pod.metadata.labels) && pod.metadata.deletionTimestamp === undefined,
      );
    const expected = expectedOf(state, pods);
    const healthy = pods.filter(isReady).length;
    const { minAvailable, maxUnavailable } = budget.spec ?? {};
    const desired =
      minAvailable === undefined ? expected - count(maxUnavailable ?? 0, expected) : count(minAvailable, expected);
    const allowed = Math.max(0, healthy - Math.max(0, desired));
    const conditions = withCondition(budget.status?.conditions, {
      type: 'DisruptionAllowed',
      status: allowed > 0 ? 'True' : 'False',
      reason: allowed > 0 ? 'SufficientPods' : 'InsufficientPods',
      message: '',
      observedGeneration: budget.metadata.generation ?? 1,
      lastTransitionTime: '',
    });
    const status = {
      observedGeneration: budget.metadata.generation,
      currentHealthy: healthy,
      desiredHealthy: Math.max(0, desired),
      expectedPods: expected,
      disruptionsAllowed: allowed,
      conditions,
    };
    if (!isSame(budget.status, status)) state.setStatus(kinds.budget, budget, status);
  }
}

/** A share is rounded up, as a cluster does. */
function count(value: number | string, of: number): number {
  return typeof value === 'number' ? value : Math.ceil((Number.parseFloat(value) / 100) * of);
}

/** How many pods there ought to be: what their replica sets want, and pods of nobody one each. */
function expectedOf({ store }: ClusterState, pods: readonly Pod[]): number {
  const owners = new Map<string, number>();
  let alone = 0;
  for (const pod of pods) {
    const owner = controllerOf(pod);
    const set = owner && store.find<ReplicaSet>(kinds.replicaSet, pod.metadata.namespace, owner.name);
    if (set === undefined) alone += 1;
    else owners.set(set.metadata.uid, set.spec.replicas ?? 1);
  }
  return [...owners.values()].reduce((sum, replicas) => sum + replicas, alone);
}
