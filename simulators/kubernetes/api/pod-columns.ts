import type { ContainerStatus, Json, Pod } from '../objects.ts';
import { age } from './age.ts';
import type { Column } from './columns.ts';

/** What `kubectl get pods` shows after the name. */
export const podColumns: readonly Column[] = [
  {
    name: 'Ready',
    cell: (object) => {
      const { spec, status } = podOf(object);
      const ready = (status?.containerStatuses ?? []).filter((one) => one.ready).length;
      return `${ready}/${spec.containers.length}`;
    },
  },
  { name: 'Status', cell: (object) => statusText(podOf(object)) },
  { name: 'Restarts', cell: (object) => restartsText(podOf(object)) },
  { name: 'Age', cell: (object) => age(podOf(object).metadata.creationTimestamp) },
  { name: 'IP', isWide: true, cell: (object) => podOf(object).status?.podIP ?? '<none>' },
  { name: 'Node', isWide: true, cell: (object) => podOf(object).spec.nodeName ?? '<none>' },
  { name: 'Nominated Node', isWide: true, cell: () => '<none>' },
  { name: 'Readiness Gates', isWide: true, cell: () => '<none>' },
];

function podOf(object: Json): Pod {
  // Checked against the schema when it was written.
  return object as unknown as Pod;
}

function restartsText({ status }: Pod): string {
  const all = status?.containerStatuses ?? [];
  const count = all.reduce((sum, { restartCount }) => sum + restartCount, 0);
  const ends = all.flatMap(({ lastState }) => lastState?.terminated?.finishedAt ?? []).sort();
  return count === 0 || ends.length === 0 ? String(count) : `${count} (${age(ends.at(-1))} ago)`;
}

/** One word for how a pod is: the reason of the container that keeps it, else its phase. */
function statusText(pod: Pod): string {
  const { status, metadata } = pod;
  const init = initText(pod);
  const reasons = (status?.containerStatuses ?? []).flatMap(reasonOf);
  if (metadata.deletionTimestamp !== undefined) return 'Terminating';
  if (init !== undefined) return init;
  const scheduled = status?.conditions?.find(({ type }) => type === 'PodScheduled');
  return (
    reasons.at(-1) ??
    status?.reason ??
    (scheduled?.reason === 'SchedulingGated' ? 'SchedulingGated' : (status?.phase ?? 'Unknown'))
  );
}

function reasonOf({ state }: ContainerStatus): string[] {
  if (state?.waiting?.reason !== undefined) return [state.waiting.reason];
  const { terminated } = state ?? {};
  if (terminated === undefined) return [];
  return [
    terminated.reason ??
      (terminated.signal === undefined ? `ExitCode:${terminated.exitCode}` : `Signal:${terminated.signal}`),
  ];
}

function initText({ spec, status }: Pod): string | undefined {
  const all = status?.initContainerStatuses ?? [];
  const index = all.findIndex(({ state }) => state?.terminated?.exitCode !== 0);
  const [one] = all.slice(index);
  if (index < 0 || one === undefined) return undefined;
  const reason = reasonOf(one)[0];
  const isOnlyWaiting = reason === undefined || reason === 'PodInitializing';
  return isOnlyWaiting ? `Init:${index}/${(spec.initContainers ?? []).length}` : `Init:${reason}`;
}
