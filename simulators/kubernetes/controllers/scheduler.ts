import { requestsOf } from '../admission/defaults.ts';
import { type ClusterState, withCondition } from '../cluster-state.ts';
import type { Node, Pod } from '../objects.ts';
import { amountOf } from '../quantity.ts';
import { kinds } from '../resources.ts';
import { meets } from '../selectors.ts';

/** Gives each pod that waits a node that can take it, or says why none can. */
export function schedule(state: ClusterState): void {
  const nodes = state.store.list<Node>(kinds.node);
  for (const pod of state.store.list<Pod>(kinds.pod)) {
    if (pod.spec.nodeName !== undefined || pod.metadata.deletionTimestamp !== undefined) continue;
    const reasons = new Map<string, number>();
    const fitting = nodes.filter((node) => {
      const why = whyNot(state, pod, node);
      for (const reason of why) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      return why.length === 0;
    });
    const node = fitting.toSorted((a, b) => podsOn(state, a).length - podsOn(state, b).length)[0];
    if (node === undefined) refuse(state, pod, nodes.length, reasons);
    else bind(state, pod, node);
  }
}

function podsOn({ store }: ClusterState, node: Node): Pod[] {
  return store.list<Pod>(kinds.pod).filter(({ spec, status }) => {
    const hasEnded = status?.phase === 'Succeeded' || status?.phase === 'Failed';
    return spec.nodeName === node.metadata.name && !hasEnded;
  });
}

function whyNot(state: ClusterState, pod: Pod, node: Node): string[] {
  if (node.spec?.unschedulable === true) return ['node(s) were unschedulable'];
  const taint = (node.spec?.taints ?? []).find(
    ({ key, value = '', effect }) =>
      effect !== 'PreferNoSchedule' &&
      !(pod.spec.tolerations ?? []).some(
        (one) =>
          (one.key === undefined || one.key === '' || one.key === key) &&
          (one.operator === 'Exists' || (one.value ?? '') === value) &&
          (one.effect === undefined || one.effect === effect),
      ),
  );
  if (taint !== undefined) return [`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`];
  if (!isSelected(pod, node)) return ["node(s) didn't match Pod's node affinity/selector"];
  const others = podsOn(state, node);
  const allocatable = node.status?.allocatable ?? node.status?.capacity ?? {};
  const used: Record<string, number> = { pods: others.length };
  for (const other of others) {
    for (const [name, amount] of Object.entries(requestsOf(other.spec))) used[name] = (used[name] ?? 0) + amount;
  }
  const asked = { ...requestsOf(pod.spec), pods: 1 };
  return Object.entries(asked)
    .filter(([name, amount]) => amount > 0 && (used[name] ?? 0) + amount > amountOf(allocatable[name]) + 1e-9)
    .map(([name]) => (name === 'pods' ? 'Too many pods' : `Insufficient ${name}`));
}

function isSelected({ spec }: Pod, node: Node): boolean {
  const labels = node.metadata.labels ?? {};
  const selector = Object.entries(spec.nodeSelector ?? {});
  if (!selector.every(([key, value]) => labels[key] === value)) return false;
  const terms = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  if (terms === undefined) return true;
  return terms.some(({ matchExpressions = [], matchFields = [] }) =>
    [...matchExpressions, ...matchFields].every(({ key, operator, values = [] }) =>
      meets(key === 'metadata.name' ? node.metadata.name : labels[key], operator, values),
    ),
  );
}

function refuse(state: ClusterState, pod: Pod, count: number, reasons: ReadonlyMap<string, number>): void {
  const list = [...reasons].map(([reason, times]) => `${times} ${reason}`).join(', ');
  const message = `0/${count} nodes are available${list === '' ? '' : `: ${list}`}.`;
  const conditions = withCondition(pod.status?.conditions, {
    type: 'PodScheduled',
    status: 'False',
    reason: 'Unschedulable',
    message,
  });
  const before = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled')?.message;
  state.setStatus(kinds.pod, pod, { ...pod.status, conditions }, 'kube-scheduler');
  if (before !== message) {
    state.event(pod, { type: 'Warning', reason: 'FailedScheduling', message, component: 'default-scheduler' });
  }
}

function bind(state: ClusterState, pod: Pod, node: Node): void {
  const { name, namespace = '' } = pod.metadata;
  state.change(
    kinds.pod,
    pod,
    (copy) => {
      (copy as unknown as Pod).spec.nodeName = node.metadata.name;
    },
    'kube-scheduler',
  );
  const bound = state.store.find<Pod>(kinds.pod, namespace, name);
  if (bound === undefined) return;
  const conditions = withCondition(bound.status?.conditions, { type: 'PodScheduled', status: 'True' });
  const status = { ...bound.status, conditions: conditions.map(({ reason: _r, message: _m, ...rest }) => rest) };
  state.setStatus(kinds.pod, bound, status, 'kube-scheduler');
  const message = `Successfully assigned ${namespace}/${name} to ${node.metadata.name}`;
  state.event(pod, { reason: 'Scheduled', message, component: 'default-scheduler' });
}
