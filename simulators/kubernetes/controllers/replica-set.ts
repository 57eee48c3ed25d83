import { type ClusterState, withCondition } from '../cluster-state.ts';
import { controllerOf, type Json, type Pod, type ReplicaSet } from '../objects.ts';
import { remove } from '../remover.ts';
import { kinds } from '../resources.ts';

const component = 'replicaset-controller';

/** Makes and deletes pods until each replica set has as many as it wants. */
export function syncReplicaSets(state: ClusterState): void {
  for (const set of state.store.list<ReplicaSet>(kinds.replicaSet)) {
    if (set.metadata.deletionTimestamp === undefined) syncReplicaSet(state, set);
  }
}

function podsOf({ store }: ClusterState, set: ReplicaSet): Pod[] {
  return store
    .list<Pod>(kinds.pod, set.metadata.namespace)
    .filter((pod) => controllerOf(pod)?.uid === set.metadata.uid);
}

/** Says whether a pod counts: one that is going, or has ended, does not. */
function isActive({ metadata, status }: Pod): boolean {
  return metadata.deletionTimestamp === undefined && status?.phase !== 'Failed' && status?.phase !== 'Succeeded';
}

function syncReplicaSet(state: ClusterState, set: ReplicaSet): void {
  const active = podsOf(state, set).filter(isActive);
  const wanted = set.spec.replicas ?? 1;
  let failure: string | undefined;
  for (let made = active.length; made < wanted && failure === undefined; made += 1) failure = makePod(state, set);
  for (const pod of active.toSorted(leastMissed).slice(0, Math.max(0, active.length - wanted))) {
    remove(state.store, kinds.pod, pod);
    state.event(set, { reason: 'SuccessfulDelete', message: `Deleted pod: ${pod.metadata.name}`, component });
  }
  report(state, set, failure);
}

/** @returns why it cannot be made */
function makePod(state: ClusterState, set: ReplicaSet): string | undefined {
  const { metadata, spec } = set;
  const owner = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    name: metadata.name,
    uid: metadata.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
  const template = spec.template as unknown as { metadata?: Json; spec?: Json };
  const pod: Json = {
    metadata: {
      generateName: `${metadata.name}-`,
      ...(template.metadata?.['labels'] === undefined ? {} : { labels: template.metadata['labels'] }),
      ...(template.metadata?.['annotations'] === undefined ? {} : { annotations: template.metadata['annotations'] }),
      ownerReferences: [owner],
    },
    spec: template.spec,
  };
  try {
    const { object } = state.writer.create(kinds.pod, pod, {
      manager: { name: 'kube-controller-manager', operation: 'Update' },
      namespace: metadata.namespace,
    });
    state.event(set, { reason: 'SuccessfulCreate', message: `Created pod: ${object.metadata.name}`, component });
    return undefined;
  } catch (error) {
    // The name is a new one at each attempt, and would make each a new event.
    const message = (error instanceof Error ? error.message : String(error)).replace(
      /"[^"]*-[b-z2-9]{5}"/,
      `"${metadata.name}-"`,
    );
    state.event(set, { type: 'Warning', reason: 'FailedCreate', message: `Error creating: ${message}`, component });
    return message;
  }
}

/** Pods that are missed least come first: without a node, not ready, younger. */
function leastMissed(a: Pod, b: Pod): number {
  const rank = (pod: Pod): number => (pod.spec.nodeName === undefined ? 0 : isReady(pod) ? 2 : 1);
  return rank(a) - rank(b) || (a.metadata.creationTimestamp < b.metadata.creationTimestamp ? 1 : -1);
}

/** Says whether a pod takes requests. */
export function isReady({ status }: Pod): boolean {
  return status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
}

function isAvailable(pod: Pod, minReadySeconds: number): boolean {
  const ready = pod.status?.conditions?.find(({ type }) => type === 'Ready');
  if (ready?.status !== 'True') return false;
  return Date.now() - Date.parse(ready.lastTransitionTime ?? '') >= minReadySeconds * 1000;
}

function report(state: ClusterState, { metadata }: ReplicaSet, failure: string | undefined): void {
  const set = state.store.find<ReplicaSet>(kinds.replicaSet, metadata.namespace, metadata.name);
  if (set === undefined) return;
  const pods = podsOf(state, set).filter(isActive);
  const ready = pods.filter(isReady).length;
  const available = pods.filter((pod) => isAvailable(pod, set.spec.minReadySeconds ?? 0)).length;
  const others = (set.status?.conditions ?? []).filter(({ type }) => type !== 'ReplicaFailure');
  const conditions =
    failure === undefined
      ? others
      : withCondition(set.status?.conditions, {
          type: 'ReplicaFailure',
          status: 'True',
          reason: 'FailedCreate',
          message: failure,
        });
  state.setStatus(kinds.replicaSet, set, {
    observedGeneration: metadata.generation,
    replicas: pods.length,
    ...(pods.length === 0 ? {} : { fullyLabeledReplicas: pods.length }),
    ...(ready === 0 ? {} : { readyReplicas: ready }),
    ...(available === 0 ? {} : { availableReplicas: available }),
    ...(conditions.length === 0 ? {} : { conditions }),
  });
}
