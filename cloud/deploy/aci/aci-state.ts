import type { Container, ContainerGroup, ContainerState, Event } from '@azure/arm-containerinstance';
import type { StateReport } from '../service-state.ts';

/** How long after its start a container that ends has not come up at all, in milliseconds: it would end in the same way again. */
const startMsMax = 60_000;

/** What is seen of a container group from outside. */
export interface SeenGroup {
  readonly group: ContainerGroup | undefined;
  /** The last lines of the container's output. */
  readonly output: string;
  /** Whether it answers at its address; undefined where that was not tried. */
  readonly answers: boolean | undefined;
}

/** Works out how a service is from its container group (pure). */
export function aciState({ group, output, answers }: SeenGroup): StateReport {
  if (group === undefined) return { state: 'Failed', reason: 'the container group is gone' };
  const container = group.containers[0];
  const view = container?.instanceView;
  const crashed = crashOf(view?.currentState, view?.previousState);
  if (crashed !== undefined) return crash(crashed, { output, restarts: view?.restartCount ?? 0 });
  if (group.provisioningState === 'Failed') return failedProvisioning(group, container);
  if (group.instanceView?.state === 'Stopped') return { state: 'Unhealthy', reason: 'the container group is stopped' };
  const current = view?.currentState;
  if (current?.state === 'Running') {
    if (answers === true) return { state: 'Healthy' };
    const reason = `the container runs, and does not answer yet${lastLine(output)}`;
    return { state: isOld(current.startTime) ? 'Unhealthy' : 'Transitioning', reason };
  }
  const last = eventsOf(container).at(-1);
  return {
    state: 'Transitioning',
    reason: last?.message ?? `the container group is ${group.provisioningState ?? 'being made'}`,
  };
}

/** The end of a run that nobody asked for, whether it has been started again or not. */
function crashOf(
  current: ContainerState | undefined,
  previous: ContainerState | undefined,
): ContainerState | undefined {
  const ended = current?.state === 'Terminated' ? current : current?.state === 'Waiting' ? previous : undefined;
  return ended === undefined || ended.detailStatus === 'Stopped' ? undefined : ended;
}

function crash(
  { exitCode, startTime, finishTime }: ContainerState,
  { output, restarts }: { readonly output: string; readonly restarts: number },
): StateReport {
  const ranMs = (finishTime?.getTime() ?? 0) - (startTime?.getTime() ?? 0);
  const said = output.trim() === '' ? 'it wrote nothing' : output.trim();
  const reason = `the container ended with exit code ${exitCode}${restarts > 0 ? `, ${restarts + 1} times` : ''}: ${said}`;
  return { state: ranMs < startMsMax ? 'Failed' : 'Unhealthy', reason };
}

function failedProvisioning(group: ContainerGroup, container: Container | undefined): StateReport {
  const events = [...(group.instanceView?.events ?? []), ...eventsOf(container)];
  const warning = events.findLast(({ type }) => type === 'Warning') ?? events.at(-1);
  const reason = warning?.message ?? 'Azure could not make the container group';
  const isRoom = /InsufficientCapacity|not available in the location/.test(`${warning?.name} ${reason}`);
  return { state: isRoom ? 'Unschedulable' : 'Failed', reason };
}

function eventsOf(container: Container | undefined): readonly Event[] {
  return container?.instanceView?.events ?? [];
}

function isOld(startTime: Date | undefined): boolean {
  return startTime !== undefined && Date.now() - startTime.getTime() > startMsMax;
}

function lastLine(output: string): string {
  const line = output.trim().split('\n').at(-1);
  return line ? `: ${line}` : '';
}
