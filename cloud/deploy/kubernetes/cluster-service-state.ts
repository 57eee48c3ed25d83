import { type InstanceStatus, type ServiceStatus, type StateReport, worstOf } from '../service-state.ts';
import type { ContainerView, PodView } from './cluster.ts';

/** A deployment, as far as it is looked at. */
export interface DeploymentView {
  readonly metadata?: { readonly name?: string; readonly generation?: number };
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
  /** One, or one a version and that of the router. */
  readonly deployments: readonly DeploymentView[];
  readonly service: ServiceView | undefined;
  readonly pods: readonly PodView[];
}

/** Restarts after which a container that fails is not expected to come up by itself. */
const restartsMax = 2;
/** Why a container waits when it will not start as it is. */
const finalReasons = new Set(['InvalidImageName', 'CreateContainerConfigError', 'ErrImageNeverPull']);

/** Works out how a service is from what the cluster has. */
export function clusterServiceState({ deployments, service, pods }: ClusterView): ServiceStatus {
  const instances = pods.filter(({ metadata }) => metadata?.deletionTimestamp === undefined).map(instanceOf);
  const address = addressOf(service);
  const own = { ...(address === undefined ? {} : { address }), instances };
  if (deployments.length === 0) return { state: 'Failed', reason: 'the deployment is gone from the cluster', ...own };
  const worst = worstOf(instances.filter(({ state }) => state !== 'Healthy'));
  const failure = deployments.map((deployment) => conditionOf(deployment, 'ReplicaFailure')).find(isTrue);
  if (failure !== undefined) return { state: 'Failed', reason: failure.message ?? 'no pod can be made', ...own };
  if (worst?.state === 'Failed') return { state: 'Failed', ...reasonOf(worst), ...own };
  const stuck = deployments
    .map((deployment) => conditionOf(deployment, 'Progressing'))
    .find((condition) => condition?.reason === 'ProgressDeadlineExceeded');
  if (stuck !== undefined) {
    return {
      state: worst?.state === 'Unschedulable' ? 'Unschedulable' : 'Failed',
      reason: worst?.reason ?? stuck.message ?? '',
      ...own,
    };
  }
  const undone = deployments.find((deployment) => !isDeployed(deployment));
  if (undone === undefined && address !== undefined) return { state: 'Healthy', ...own };
  if (worst !== undefined && worst.state !== 'Transitioning') return { state: worst.state, ...reasonOf(worst), ...own };
  return { state: 'Transitioning', reason: undone === undefined ? noAddress : progressOf(undone), ...own };
}

const noAddress = 'the load balancer has no address yet';

/** Says whether all replicas of a deployment are of what is wanted now, and answer. */
export function isDeployed({ metadata = {}, spec = {}, status = {} }: DeploymentView): boolean {
  const wanted = spec.replicas ?? 1;
  return (
    (status.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
    (status.updatedReplicas ?? 0) >= wanted &&
    (status.availableReplicas ?? 0) >= wanted &&
    status.replicas === status.updatedReplicas
  );
}

function progressOf({ spec = {}, status = {} }: DeploymentView): string {
  const { updatedReplicas = 0, availableReplicas = 0 } = status;
  return `${updatedReplicas} of ${spec.replicas ?? 1} replicas are new, ${availableReplicas} available`;
}

type Condition = NonNullable<NonNullable<DeploymentView['status']>['conditions']>[number];

function conditionOf({ status }: DeploymentView, type: string): Condition | undefined {
  return status?.conditions?.find((one) => one.type === type);
}

function isTrue(condition: Condition | undefined): boolean {
  return condition?.status === 'True';
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
  const containers = pod.status?.containerStatuses ?? [];
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False') {
    return { name, state: 'Unschedulable', reason: scheduled.message ?? 'no node has room for it' };
  }
  if (containers.length === 0) return { name, state: 'Transitioning', reason: 'it is on its way to a node' };
  // A pod is as its worst container is.
  const unready = containers.map((container) => ({ name, ...containerState(container) })).filter(isUnready);
  return worstOf(unready) ?? { name, state: 'Healthy' };
}

function isUnready({ state }: StateReport): boolean {
  return state !== 'Healthy';
}

function containerState(container: ContainerView): StateReport {
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
