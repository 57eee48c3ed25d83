import { requestsOf } from '../admission/defaults.ts';
import { type ClusterState, withCondition } from '../cluster-state.ts';
import type { Autoscaler, Deployment, Json, Pod } from '../objects.ts';
import { amountOf, quantityOf } from '../quantity.ts';
import { kinds } from '../resources.ts';
import { matches } from '../selectors.ts';
import { now } from '../writer.ts';
import { isReady } from './replica-set.ts';

/** How far the ratio may be off before anything is done. */
const tolerance = 0.1;
/** How long a lower wish has to last, in seconds, where nothing else is said. */
const scaleDownSeconds = 300;

type Behavior = NonNullable<Autoscaler['spec']['behavior']>;
type Rules = NonNullable<Behavior['scaleUp']>;

/** What a controller of autoscalers knows over time: how many replicas were wished for, and what was done. */
export class AutoscalerController {
  readonly #state: ClusterState;
  readonly #usageOf: (pod: Pod) => Readonly<Record<string, number>> | undefined;
  readonly #wishes = new Map<string, { atMs: number; replicas: number }[]>();
  readonly #changes = new Map<string, { atMs: number; by: number }[]>();

  /** @param usageOf what a pod takes: processors and bytes; undefined while nothing is measured */
  constructor(state: ClusterState, usageOf: (pod: Pod) => Readonly<Record<string, number>> | undefined) {
    this.#state = state;
    this.#usageOf = usageOf;
  }

  /** Sets the replicas of every target by what its pods take. @see https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ */
  sync(): void {
    for (const autoscaler of this.#state.store.list<Autoscaler>(kinds.autoscaler)) this.#scale(autoscaler);
  }

  #scale(autoscaler: Autoscaler): void {
    const { spec, metadata } = autoscaler;
    const target = this.#state.store.find<Deployment>(kinds.deployment, metadata.namespace, spec.scaleTargetRef.name);
    if (target === undefined || spec.scaleTargetRef.kind !== 'Deployment') {
      const message = `the HPA controller was unable to get the target's current scale: deployments.apps "${spec.scaleTargetRef.name}" not found`;
      this.#report(autoscaler, { conditions: [['AbleToScale', false, 'FailedGetScale', message]] });
      return;
    }
    const current = target.spec.replicas ?? 1;
    const pods = this.#state.store
      .list<Pod>(kinds.pod, metadata.namespace)
      .filter(
        (pod) => matches(target.spec.selector, pod.metadata.labels) && pod.metadata.deletionTimestamp === undefined,
      );
    if (current === 0) {
      const message = 'scaling is disabled since the replica count of the target is zero';
      this.#report(autoscaler, {
        current,
        desired: 0,
        conditions: [['ScalingActive', false, 'ScalingDisabled', message]],
      });
      return;
    }
    const measured = (spec.metrics ?? []).map((metric) => this.#measure(metric, pods, current));
    const wishes = measured.flatMap(({ wish }) => wish ?? []);
    if (wishes.length === 0) {
      const message = `the HPA was unable to compute the replica count: ${measured[0]?.why ?? 'no metrics are given'}`;
      this.#report(autoscaler, {
        current,
        desired: current,
        conditions: [
          ['AbleToScale', true, 'SucceededGetScale', ''],
          ['ScalingActive', false, 'FailedGetResourceMetric', message],
        ],
      });
      return;
    }
    const wish = Math.max(...wishes);
    const { replicas, limit } = this.#limited(autoscaler, current, wish);
    this.#report(autoscaler, {
      current,
      desired: replicas,
      metrics: measured.map(({ status }) => status).filter((one) => one !== undefined),
      conditions: [
        ['AbleToScale', true, replicas === current ? 'ReadyForNewScale' : 'SucceededRescale', ''],
        [
          'ScalingActive',
          true,
          'ValidMetricFound',
          'the HPA was able to successfully calculate a replica count from cpu resource utilization',
        ],
        [
          'ScalingLimited',
          limit !== undefined,
          limit ?? 'DesiredWithinRange',
          limit === undefined
            ? 'the desired count is within the acceptable range'
            : 'the desired replica count is limited',
        ],
      ],
    });
    if (replicas !== current) this.#rescale(autoscaler, target, replicas);
  }

  #rescale(autoscaler: Autoscaler, target: Deployment, replicas: number): void {
    const current = target.spec.replicas ?? 1;
    const key = autoscaler.metadata.uid;
    this.#changes.set(
      key,
      [...(this.#changes.get(key) ?? []), { atMs: Date.now(), by: replicas - current }].slice(-100),
    );
    const before = this.#state.store.get(kinds.deployment, target.metadata.namespace, target.metadata.name);
    const next = { ...before, spec: { ...(before['spec'] as Json), replicas } };
    const manager = { name: 'kube-controller-manager', operation: 'Update', subresource: 'scale' } as const;
    this.#state.writer.update(kinds.deployment, before, next, { manager });
    const why =
      replicas > current ? 'cpu resource utilization (percentage of request) above target' : 'All metrics below target';
    this.#state.event(autoscaler, {
      reason: 'SuccessfulRescale',
      message: `New size: ${replicas}; reason: ${why}`,
      component: 'horizontal-pod-autoscaler',
    });
  }

  #measure(
    metric: NonNullable<Autoscaler['spec']['metrics']>[number],
    pods: readonly Pod[],
    current: number,
  ): { wish?: number; status?: Json; why?: string } {
    const { resource } = metric;
    if (resource === undefined) return { why: `metrics of type ${metric.type} are not simulated, Resource was wanted` };
    const { name, target } = resource;
    const known = pods.filter(isReady).flatMap((pod) => {
      const usage = this.#usageOf(pod)?.[name];
      return usage === undefined ? [] : [{ usage, request: requestsOf(pod.spec)[name] ?? 0 }];
    });
    if (known.length === 0)
      return { why: `failed to get ${name} utilization: no metrics returned from resource metrics API` };
    const usage = known.reduce((sum, one) => sum + one.usage, 0);
    const average = quantityOf(name, usage / known.length);
    const status = (value: Json): Json => ({
      type: 'Resource',
      resource: { name, current: { averageValue: average, ...value } },
    });
    if (target.averageUtilization === undefined) {
      const ratio = usage / known.length / amountOf(target.averageValue ?? target.value);
      return { wish: wishOf(ratio, current, known.length), status: status({}) };
    }
    const request = known.reduce((sum, one) => sum + one.request, 0);
    if (request === 0) return { why: `failed to get ${name} utilization: missing request for ${name} in container` };
    const utilization = Math.round((usage / request) * 100);
    return {
      wish: wishOf(utilization / target.averageUtilization, current, known.length),
      status: status({ averageUtilization: utilization }),
    };
  }

  /** What a wish becomes by its bounds, by how long it has lasted, and by how fast it may be. */
  #limited({ metadata, spec }: Autoscaler, current: number, wish: number): { replicas: number; limit?: string } {
    const key = metadata.uid;
    const up = spec.behavior?.scaleUp ?? {};
    const down = spec.behavior?.scaleDown ?? {};
    const wishes = [...(this.#wishes.get(key) ?? []), { atMs: Date.now(), replicas: wish }].slice(-1000);
    this.#wishes.set(key, wishes);
    const within = (seconds: number): number[] =>
      wishes.filter(({ atMs }) => Date.now() - atMs <= seconds * 1000).map(({ replicas }) => replicas);
    let replicas = current;
    const lowest = Math.min(wish, ...within(up.stabilizationWindowSeconds ?? 0));
    const highest = Math.max(wish, ...within(down.stabilizationWindowSeconds ?? scaleDownSeconds));
    if (lowest > current) replicas = Math.min(lowest, current + this.#room(key, up, current, 1));
    else if (highest < current) replicas = Math.max(highest, current - this.#room(key, down, current, -1));
    const { minReplicas = 1, maxReplicas } = spec;
    if (wish > maxReplicas) return { replicas: Math.min(replicas, maxReplicas), limit: 'TooManyReplicas' };
    if (wish < minReplicas) return { replicas: Math.max(replicas, minReplicas), limit: 'TooFewReplicas' };
    return { replicas: Math.min(maxReplicas, Math.max(minReplicas, replicas)) };
  }

  /** How many pods may come or go now, by the policies of that direction. */
  #room(key: string, rules: Rules, current: number, way: 1 | -1): number {
    if (rules.selectPolicy === 'Disabled') return 0;
    const fallback =
      way === 1
        ? [
            { type: 'Pods', value: 4, periodSeconds: 15 },
            { type: 'Percent', value: 100, periodSeconds: 15 },
          ]
        : [{ type: 'Percent', value: 100, periodSeconds: 15 }];
    const rooms = (rules.policies ?? fallback).map(({ type, value, periodSeconds }) => {
      const done = (this.#changes.get(key) ?? [])
        .filter(({ atMs, by }) => Math.sign(by) === way && Date.now() - atMs <= periodSeconds * 1000)
        .reduce((sum, { by }) => sum + Math.abs(by), 0);
      const from = current - way * done;
      return (type === 'Pods' ? value : Math.ceil((from * value) / 100)) - done;
    });
    const room = rules.selectPolicy === 'Min' ? Math.min(...rooms) : Math.max(...rooms);
    return Math.max(0, room);
  }

  #report(
    { metadata }: Autoscaler,
    of: {
      current?: number;
      desired?: number;
      metrics?: Json[];
      conditions: readonly (readonly [type: string, isTrue: boolean, reason: string, message: string])[];
    },
  ): void {
    const autoscaler = this.#state.store.find<Autoscaler>(kinds.autoscaler, metadata.namespace, metadata.name);
    if (autoscaler === undefined) return;
    const before = autoscaler.status;
    let { conditions } = before ?? {};
    for (const [type, isTrue, reason, message] of of.conditions) {
      conditions = withCondition(conditions, { type, status: isTrue ? 'True' : 'False', reason, message });
    }
    const isScaled =
      before?.desiredReplicas !== undefined && of.desired !== undefined && before.desiredReplicas !== of.desired;
    this.#state.setStatus(kinds.autoscaler, autoscaler, {
      ...before,
      ...(of.current === undefined ? {} : { currentReplicas: of.current }),
      desiredReplicas: of.desired ?? before?.desiredReplicas ?? 0,
      ...(of.metrics === undefined ? {} : { currentMetrics: of.metrics }),
      ...(isScaled ? { lastScaleTime: now() } : {}),
      conditions,
    });
  }
}

/** Pods that nothing is known of yet neither raise nor lower a wish. */
function wishOf(ratio: number, current: number, known: number): number {
  if (Math.abs(ratio - 1) <= tolerance) return current;
  const missing = Math.max(0, current - known);
  return Math.max(1, Math.ceil(ratio * known) + missing);
}
