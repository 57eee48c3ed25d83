import { type InstanceStatus, type ServiceStatus, type StateReport, worstOf } from '../service-state.ts';
import type { ContainerView, PodView } from './cluster.ts';

/** A deployment, as far as it is looked at. */
export interface DeploymentView {
  readonly metadata?: { readonly generation?: number };
  readonly spec?: { readonly replicas?: number };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
  };
}

/** A service, as far as it is looked at. */
export interface ServiceView {
  readonly spec?: { readonly ports?: readonly { readonly port: number }[] };
  readonly status?: {
    readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string; readonly hostname?: string }[] };
  };
}

/** What the cluster has of a service. */
export interface ClusterView {
  readonly deployment: DeploymentView | undefined;
  readonly service: ServiceView | undefined;
  readonly pods: readonly PodView[];
}

/** Restarts after which a container that fails is not expected to come up by itself. */
const restartsMax = 2;
/** Why a container waits when it will not start as it is. */
const finalReasons = new Set(['InvalidImageName', 'CreateContainerConfigError', 'ErrImageNeverPull']);

/** Works out how a service is from what the cluster has. */
export function clusterServiceState({ deployment, service, pods }: ClusterView): ServiceStatus {
  const instances = pods.filter(({ metadata }) => metadata?.deletionTimestamp === undefined).map(instanceOf);
  const address = addressOf(service);
  const own = { ...(address === undefined ? {} : { address }), instances };
  if (deployment === undefined) return { state: 'Failed', reason: 'the deployment is gone from the cluster', ...own };
  const worst = worstOf(instances.filter(({ state }) => state !== 'Healthy'));
  const { status = {}, spec = {}, metadata = {} } = deployment;
  const wanted = spec.replicas ?? 1;
  const condition = (type: string): NonNullable<(typeof status)['conditions']>[number] | undefined =>
    status.conditions?.find((one) => one.type === type);
  const failure = condition('ReplicaFailure');
  const progressing = condition('Progressing');
  if (failure?.status === 'True') return { state: 'Failed', reason: failure.message ?? 'no pod can be made', ...own };
  if (worst?.state === 'Failed') return { state: 'Failed', ...reasonOf(worst), ...own };
  if (progressing?.reason === 'ProgressDeadlineExceeded') {
    return {
      state: worst?.state === 'Unschedulable' ? 'Unschedulable' : 'Failed',
      reason: worst?.reason ?? progressing.message ?? '',
      ...own,
    };
  }
  const isTaken = (status.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  const isDone =
    isTaken &&
    (status.updatedReplicas ?? 0) >= wanted &&
    (status.availableReplicas ?? 0) >= wanted &&
    status.replicas === status.updatedReplicas;
  if (isDone && address !== undefined) return { state: 'Healthy', ...own };
  if (worst !== undefined && worst.state !== 'Transitioning') return { state: worst.state, ...reasonOf(worst), ...own };
  const reason = isDone
    ? 'the load balancer has no address yet'
    : `${status.updatedReplicas ?? 0} of ${wanted} replicas are new, ${status.availableReplicas ?? 0} available`;
  return { state: 'Transitioning', reason, ...own };
}

function reasonOf({ name, reason }: InstanceStatus): { reason?: string } {
  return reason === undefined ? {} : { reason: `${name}: ${reason}` };
}

function addressOf(service: ServiceView | undefined): string | undefined {
  const [ingress] = service?.status?.loadBalancer?.ingress ?? [];
  const port = service?.spec?.ports?.[0]?.port;
  const host = ingress?.hostname ?? ingress?.ip;
  if (host === undefined || port === undefined) return undefined;
  return `${port === 443 ? 'https' : 'http'}://${host}:${port}`;
}

function instanceOf(pod: PodView): InstanceStatus {
  const name = pod.metadata?.name ?? '';
  const [container] = pod.status?.containerStatuses ?? [];
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False') {
    return { name, state: 'Unschedulable', reason: scheduled.message ?? 'no node has room for it' };
  }
  return { name, ...containerState(container) };
}

function containerState(container: ContainerView | undefined): StateReport {
  if (container === undefined) return { state: 'Transitioning', reason: 'it is on its way to a node' };
  if (container.ready) return { state: 'Healthy' };
  const { state = {}, lastState = {}, restartCount } = container;
  const ended = state.terminated ?? lastState.terminated;
  const waiting = state.waiting?.reason ?? '';
  if (waiting === 'ErrImagePull' || waiting === 'ImagePullBackOff') {
    return { state: 'Failed', reason: `the image cannot be pulled: ${state.waiting?.message ?? waiting}` };
  }
  if (finalReasons.has(waiting)) return { state: 'Failed', reason: state.waiting?.message ?? waiting };
  if (ended !== undefined && ended.exitCode !== 0) {
    const words = lastLine(ended.message);
    const reason = `it ended with ${ended.exitCode}${words === '' ? '' : `: ${words}`}`;
    return { state: restartCount >= restartsMax ? 'Failed' : 'Unhealthy', reason };
  }
  return { state: 'Transitioning', reason: state.waiting?.message ?? 'it is starting' };
}

/** What a program says last is why it ended. */
function lastLine(text = ''): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}
