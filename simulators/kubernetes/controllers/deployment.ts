import { createHash } from 'node:crypto';
import { type ClusterState, withCondition } from '../cluster-state.ts';
import { controllerOf, type Deployment, isSame, type Json, type ReplicaSet } from '../objects.ts';
import { remove } from '../remover.ts';
import { kinds } from '../resources.ts';
import { now } from '../writer.ts';

const revisionAnnotation = 'deployment.kubernetes.io/revision';
const hashLabel = 'pod-template-hash';
const manager = { name: 'kube-controller-manager', operation: 'Update' } as const;
type Status = NonNullable<Deployment['status']>;
type Conditions = Status['conditions'];

/** Brings every deployment a step nearer to its template: a replica set a template, scaled within what may be missing and what may be more. */
export function syncDeployments(state: ClusterState): void {
  for (const deployment of state.store.list<Deployment>(kinds.deployment)) {
    if (deployment.metadata.deletionTimestamp === undefined) syncDeployment(state, deployment);
  }
}

function syncDeployment(state: ClusterState, deployment: Deployment): void {
  const all = setsOf(state, deployment);
  const current = all.find((set) => isSame(templateOf(set), plainTemplate(deployment)));
  if (deployment.spec.paused !== true) {
    const set = current ?? makeSet(state, deployment, all);
    if (set === undefined) return;
    if (current !== undefined) renumber(state, deployment, current, all);
    const olds = setsOf(state, deployment).filter(({ metadata }) => metadata.uid !== set.metadata.uid);
    const now = state.store.find<ReplicaSet>(kinds.replicaSet, set.metadata.namespace, set.metadata.name) ?? set;
    if (deployment.spec.strategy?.type === 'Recreate') recreate(state, deployment, now, olds);
    else roll(state, deployment, now, olds);
    forgetOld(state, deployment, olds);
  } else if (current !== undefined && all.every((set) => set === current || set.spec.replicas === 0)) {
    scale(state, deployment, current, deployment.spec.replicas ?? 1);
  }
  report(state, deployment);
}

function setsOf({ store }: ClusterState, deployment: Deployment): ReplicaSet[] {
  return store
    .list<ReplicaSet>(kinds.replicaSet, deployment.metadata.namespace)
    .filter((set) => controllerOf(set)?.uid === deployment.metadata.uid)
    .toSorted((a, b) => revisionOf(a) - revisionOf(b));
}

function revisionOf({ metadata }: { metadata: Deployment['metadata'] }): number {
  return Number(metadata.annotations?.[revisionAnnotation] ?? 0);
}

/** A replica set's template without what tells its pods from those of others. */
function templateOf(set: ReplicaSet): unknown {
  const template = structuredClone(set.spec.template) as { metadata?: { labels?: Record<string, string> } };
  delete template.metadata?.labels?.[hashLabel];
  return plain(template);
}

function plainTemplate(deployment: Deployment): unknown {
  return plain(structuredClone(deployment.spec.template));
}

function plain(template: object): unknown {
  return JSON.parse(JSON.stringify(template));
}

function makeSet(state: ClusterState, deployment: Deployment, all: readonly ReplicaSet[]): ReplicaSet | undefined {
  const { metadata, spec } = deployment;
  const hash = hashOf(spec.template, all.length === 0 ? '' : metadata.uid);
  const labels = { ...spec.template.metadata?.labels, [hashLabel]: hash };
  const revision = String(Math.max(0, ...all.map(revisionOf)) + 1);
  const set: Json = {
    metadata: {
      name: `${metadata.name}-${hash}`,
      labels,
      annotations: { ...annotationsOf(deployment), [revisionAnnotation]: revision },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          name: metadata.name,
          uid: metadata.uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      replicas: 0,
      selector: { ...spec.selector, matchLabels: { ...spec.selector.matchLabels, [hashLabel]: hash } },
      ...(spec.minReadySeconds === undefined ? {} : { minReadySeconds: spec.minReadySeconds }),
      template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
    },
  };
  try {
    const { object } = state.writer.create(kinds.replicaSet, set, { manager, namespace: metadata.namespace });
    setRevision(state, deployment, revision);
    progress(state, deployment, {
      reason: 'NewReplicaSetCreated',
      message: `Created new replica set "${object.metadata.name}"`,
    });
    return object as unknown as ReplicaSet;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    state.event(deployment, {
      type: 'Warning',
      reason: 'ReplicaSetCreateError',
      message,
      component: 'deployment-controller',
    });
    return undefined;
  }
}

/** Ten letters that no digest would be taken for a word by. */
function hashOf(template: unknown, salt: string): string {
  const letters = 'bcdf456789ghjklmnpqrstvwxz2';
  const bytes = createHash('sha256')
    .update(salt + JSON.stringify(template))
    .digest();
  return [...bytes.subarray(0, 10)].map((byte) => letters[byte % letters.length]).join('');
}

function annotationsOf({ metadata }: Deployment): Record<string, string> {
  const {
    [revisionAnnotation]: _revision,
    'kubectl.kubernetes.io/last-applied-configuration': _applied,
    ...rest
  } = metadata.annotations ?? {};
  return rest;
}

/** A template that was there before becomes the newest revision. */
function renumber(state: ClusterState, deployment: Deployment, set: ReplicaSet, all: readonly ReplicaSet[]): void {
  const newest = Math.max(...all.map(revisionOf));
  const revision = String(revisionOf(set) < newest ? newest + 1 : newest);
  if (set.metadata.annotations?.[revisionAnnotation] !== revision) {
    state.change(kinds.replicaSet, set, (copy) => {
      copy.metadata.annotations = {
        ...copy.metadata.annotations,
        ...annotationsOf(deployment),
        [revisionAnnotation]: revision,
      };
    });
    progress(state, deployment, {
      reason: 'FoundNewReplicaSet',
      message: `Found new replica set "${set.metadata.name}"`,
    });
  }
  setRevision(state, deployment, revision);
}

function setRevision(state: ClusterState, deployment: Deployment, revision: string): void {
  if (deployment.metadata.annotations?.[revisionAnnotation] === revision) return;
  state.change(kinds.deployment, deployment, (copy) => {
    copy.metadata.annotations = { ...copy.metadata.annotations, [revisionAnnotation]: revision };
  });
}

function scale(state: ClusterState, deployment: Deployment, set: ReplicaSet, replicas: number): void {
  const from = set.spec.replicas ?? 0;
  if (from === replicas) return;
  state.change(kinds.replicaSet, set, (copy) => {
    (copy['spec'] as Json)['replicas'] = replicas;
  });
  const way = replicas > from ? 'up' : 'down';
  const message = `Scaled ${way} replica set ${set.metadata.name} from ${from} to ${replicas}`;
  state.event(deployment, { reason: 'ScalingReplicaSet', message, component: 'deployment-controller' });
}

function recreate(state: ClusterState, deployment: Deployment, set: ReplicaSet, olds: readonly ReplicaSet[]): void {
  for (const old of olds) scale(state, deployment, old, 0);
  const isGone = olds.every(({ status }) => (status?.replicas ?? 0) === 0);
  if (isGone) scale(state, deployment, set, deployment.spec.replicas ?? 1);
}

/** Gives how many pods a share stands for: surges are rounded up, what may be missing is rounded down. */
function share(value: number | string | undefined, of: number, round: (number: number) => number): number {
  if (typeof value === 'number') return value;
  return round((Number.parseFloat(value ?? '25%') / 100) * of);
}

function roll(state: ClusterState, deployment: Deployment, set: ReplicaSet, olds: readonly ReplicaSet[]): void {
  const wanted = deployment.spec.replicas ?? 1;
  const { maxSurge, maxUnavailable } = deployment.spec.strategy?.rollingUpdate ?? {};
  const surge = share(maxSurge, wanted, Math.ceil);
  const mayMiss = share(maxUnavailable, wanted, Math.floor);
  // Both are rounded to nothing: one pod at a time has to be missing.
  const missing = surge === 0 && mayMiss === 0 ? 1 : Math.min(mayMiss, wanted);
  const has = set.spec.replicas ?? 0;
  const old = olds.reduce((sum, { spec }) => sum + (spec.replicas ?? 0), 0);
  if (has > wanted) scale(state, deployment, set, wanted);
  else if (has < wanted) {
    const room = wanted + surge - has - old;
    if (room > 0) scale(state, deployment, set, has + Math.min(room, wanted - has));
  }
  const next = state.store.find<ReplicaSet>(kinds.replicaSet, set.metadata.namespace, set.metadata.name) ?? set;
  scaleDownOld(state, deployment, { set: next, olds, minAvailable: wanted - missing });
}

function scaleDownOld(
  state: ClusterState,
  deployment: Deployment,
  { set, olds, minAvailable }: { set: ReplicaSet; olds: readonly ReplicaSet[]; minAvailable: number },
): void {
  const all = [set, ...olds].reduce((sum, { spec }) => sum + (spec.replicas ?? 0), 0);
  const notYet = (set.spec.replicas ?? 0) - (set.status?.availableReplicas ?? 0);
  let room = all - minAvailable - notYet;
  const active = olds.filter(({ spec }) => (spec.replicas ?? 0) > 0);
  const left = new Map(active.map((one) => [one, one.spec.replicas ?? 0]));
  // What does not work goes first: it is missed by nobody.
  for (const one of active) {
    const has = left.get(one) ?? 0;
    const gone = Math.min(room, Math.max(0, has - (one.status?.availableReplicas ?? 0)));
    if (gone <= 0) continue;
    left.set(one, has - gone);
    room -= gone;
  }
  const available = [set, ...olds].reduce((sum, { status }) => sum + (status?.availableReplicas ?? 0), 0);
  let spare = Math.min(room, available - minAvailable);
  for (const one of active) {
    const has = left.get(one) ?? 0;
    const gone = Math.min(spare, has);
    if (gone <= 0) continue;
    left.set(one, has - gone);
    spare -= gone;
  }
  for (const [one, replicas] of left) scale(state, deployment, one, replicas);
}

function forgetOld(state: ClusterState, deployment: Deployment, olds: readonly ReplicaSet[]): void {
  const empty = olds.filter(({ spec, status }) => spec.replicas === 0 && (status?.replicas ?? 0) === 0);
  const surplus = empty.length - (deployment.spec.revisionHistoryLimit ?? 10);
  for (const set of empty.slice(0, Math.max(0, surplus))) remove(state.store, kinds.replicaSet, set);
}

function progress(state: ClusterState, { metadata }: Deployment, of: { reason: string; message: string }): void {
  const deployment = state.store.find<Deployment>(kinds.deployment, metadata.namespace, metadata.name);
  if (deployment === undefined) return;
  const conditions = withCondition(deployment.status?.conditions, {
    type: 'Progressing',
    status: 'True',
    ...of,
    lastUpdateTime: now(),
  });
  state.setStatus(kinds.deployment, deployment, { ...deployment.status, conditions });
}

/** Writes the status: how many pods there are, and whether it goes on. */
function report(state: ClusterState, { metadata }: Deployment): void {
  const deployment = state.store.find<Deployment>(kinds.deployment, metadata.namespace, metadata.name);
  if (deployment === undefined) return;
  const all = setsOf(state, deployment);
  const current = all.find((set) => isSame(templateOf(set), plainTemplate(deployment)));
  const sum = (field: 'replicas' | 'readyReplicas' | 'availableReplicas', sets: readonly ReplicaSet[] = all): number =>
    sets.reduce((total, { status }) => total + (status?.[field] ?? 0), 0);
  const wanted = deployment.spec.replicas ?? 1;
  const counts = {
    replicas: sum('replicas'),
    updatedReplicas: current?.status?.replicas ?? 0,
    readyReplicas: sum('readyReplicas'),
    availableReplicas: sum('availableReplicas'),
    unavailableReplicas: Math.max(
      0,
      all.reduce((total, { spec }) => total + (spec.replicas ?? 0), 0) - sum('availableReplicas'),
    ),
  };
  const before = deployment.status ?? {};
  const mayMiss = share(deployment.spec.strategy?.rollingUpdate?.maxUnavailable, wanted, Math.floor);
  const isAvailable = counts.availableReplicas >= wanted - mayMiss;
  let conditions: Conditions = withCondition(before.conditions, {
    type: 'Available',
    status: isAvailable ? 'True' : 'False',
    reason: isAvailable ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
    message: isAvailable ? 'Deployment has minimum availability.' : 'Deployment does not have minimum availability.',
    lastUpdateTime: before.conditions?.find(({ type }) => type === 'Available')?.lastUpdateTime ?? now(),
  });
  conditions = failureCondition(conditions, all);
  const isDone = counts.updatedReplicas === wanted && counts.replicas === wanted && counts.availableReplicas >= wanted;
  conditions = progressing(conditions, deployment, { counts, isDone, set: current?.metadata.name ?? '' });
  const numbers = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  state.setStatus(kinds.deployment, deployment, { observedGeneration: metadata.generation, ...numbers, conditions });
}

/** Passes on why a replica set cannot make its pods. */
function failureCondition(conditions: NonNullable<Conditions>, sets: readonly ReplicaSet[]): NonNullable<Conditions> {
  const failure = sets.flatMap(({ status }) => status?.conditions ?? []).find(({ type }) => type === 'ReplicaFailure');
  const others = conditions.filter(({ type }) => type !== 'ReplicaFailure');
  if (failure === undefined) return others;
  const before = conditions.find(({ type }) => type === 'ReplicaFailure');
  return [
    ...others,
    {
      ...failure,
      lastUpdateTime: before?.lastUpdateTime ?? now(),
      lastTransitionTime: before?.lastTransitionTime ?? now(),
    },
  ];
}

function progressing(
  conditions: NonNullable<Conditions>,
  deployment: Deployment,
  { counts, isDone, set }: { counts: Record<string, number>; isDone: boolean; set: string },
): NonNullable<Conditions> {
  const before = conditions.find(({ type }) => type === 'Progressing');
  const next = (status: 'True' | 'False', reason: string, message: string): NonNullable<Conditions> =>
    withCondition(conditions, { type: 'Progressing', status, reason, message, lastUpdateTime: now() });
  const { status = {} } = deployment;
  if (isDone) {
    if (before?.reason === 'NewReplicaSetAvailable') return conditions;
    return next('True', 'NewReplicaSetAvailable', `ReplicaSet "${set}" has successfully progressed.`);
  }
  const moved =
    (counts['updatedReplicas'] ?? 0) > (status.updatedReplicas ?? 0) ||
    (counts['readyReplicas'] ?? 0) > (status.readyReplicas ?? 0) ||
    (counts['availableReplicas'] ?? 0) > (status.availableReplicas ?? 0) ||
    (counts['replicas'] ?? 0) - (counts['updatedReplicas'] ?? 0) <
      (status.replicas ?? 0) - (status.updatedReplicas ?? 0);
  if (moved || before === undefined) return next('True', 'ReplicaSetUpdated', `ReplicaSet "${set}" is progressing.`);
  if (before.reason === 'NewReplicaSetAvailable') return conditions;
  const sinceMs = Date.now() - Date.parse(before.lastUpdateTime ?? now());
  const isLate = sinceMs > (deployment.spec.progressDeadlineSeconds ?? 600) * 1000;
  if (!isLate || before.status === 'False') return conditions;
  return next('False', 'ProgressDeadlineExceeded', `ReplicaSet "${set}" has timed out progressing.`);
}
