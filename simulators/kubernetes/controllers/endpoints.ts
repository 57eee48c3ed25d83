import type { ClusterState } from '../cluster-state.ts';
import { isSame, type Json, type Pod, type Service } from '../objects.ts';
import { remove } from '../remover.ts';
import { kinds, type Resource } from '../resources.ts';
import { matches } from '../selectors.ts';
import { isReady } from './replica-set.ts';

/** Where a service's port leads. */
export interface Target {
  readonly pod: Pod;
  readonly address: string;
  readonly port: number;
}

/** Gives the pods that a port of a service leads to: those that are ready, or would be. */
export function targetsOf(
  { store }: ClusterState,
  service: Service,
  port: NonNullable<Service['spec']['ports']>[number],
): Target[] {
  const { selector } = service.spec;
  if (selector === undefined) return [];
  return store
    .list<Pod>(kinds.pod, service.metadata.namespace)
    .filter((pod) => matches({ matchLabels: selector }, pod.metadata.labels) && pod.status?.podIP !== undefined)
    .flatMap((pod) => {
      const number = portOf(pod, port.targetPort ?? port.port);
      return number === undefined ? [] : [{ pod, address: pod.status?.podIP ?? '', port: number }];
    });
}

/** Says whether a pod may be given requests now. */
export function takesRequests(pod: Pod): boolean {
  return isReady(pod) && pod.metadata.deletionTimestamp === undefined;
}

function portOf({ spec }: Pod, port: number | string): number | undefined {
  if (typeof port === 'number') return port;
  return spec.containers.flatMap(({ ports }) => ports ?? []).find(({ name }) => name === port)?.containerPort;
}

/** Keeps for every service the list of the pods behind it, in both forms. */
export function syncEndpoints(state: ClusterState): void {
  for (const service of state.store.list<Service>(kinds.service)) {
    // One that is going would never be gone if its slices came back.
    if (service.spec.selector === undefined || service.metadata.deletionTimestamp !== undefined) continue;
    keep(state, kinds.endpoints, endpointsOf(state, service), service);
    keep(state, kinds.endpointSlice, sliceOf(state, service), service);
  }
  for (const endpoints of state.store.list(kinds.endpoints)) {
    const { name, namespace } = endpoints.metadata;
    if (state.store.find(kinds.service, namespace, name) === undefined) remove(state.store, kinds.endpoints, endpoints);
  }
}

function keep(state: ClusterState, resource: Resource, wanted: Json, { metadata }: Service): void {
  const { name } = wanted['metadata'] as { name: string };
  const before = state.store.find(resource, metadata.namespace, name);
  const manager = { name: 'kube-controller-manager', operation: 'Update' } as const;
  if (before === undefined) {
    state.writer.create(resource, wanted, { manager, namespace: metadata.namespace });
    return;
  }
  const parts = (object: Json): unknown => [object['subsets'], object['endpoints'], object['ports']];
  if (isSame(parts(before), parts(wanted))) return;
  const { subsets: _subsets, ...rest } = before;
  state.writer.update(resource, before, { ...rest, ...wanted, metadata: before.metadata }, { manager });
}

function reference({ metadata }: Pod): Json {
  return { kind: 'Pod', name: metadata.name, namespace: metadata.namespace, uid: metadata.uid };
}

function endpointsOf(state: ClusterState, service: Service): Json {
  const ports = service.spec.ports ?? [];
  const subsets = ports.flatMap((port) => {
    const all = targetsOf(state, service, port).filter(({ pod }) => pod.metadata.deletionTimestamp === undefined);
    const listed = (targets: readonly Target[]): Json[] =>
      targets.map(({ pod, address }) => ({ ip: address, nodeName: pod.spec.nodeName, targetRef: reference(pod) }));
    const ready = all.filter(({ pod }) => isReady(pod));
    const waiting = all.filter(({ pod }) => !isReady(pod));
    const [first] = all;
    if (first === undefined) return [];
    return [
      {
        ...(ready.length === 0 ? {} : { addresses: listed(ready) }),
        ...(waiting.length === 0 ? {} : { notReadyAddresses: listed(waiting) }),
        ports: [
          {
            ...(port.name === undefined ? {} : { name: port.name }),
            port: first.port,
            protocol: port.protocol ?? 'TCP',
          },
        ],
      },
    ];
  });
  const { name, labels } = service.metadata;
  return {
    metadata: { name, ...(labels === undefined ? {} : { labels }) },
    ...(subsets.length === 0 ? {} : { subsets }),
  };
}

function sliceOf(state: ClusterState, service: Service): Json {
  const { metadata, spec } = service;
  const ports = spec.ports ?? [];
  const byPod = new Map<string, Target>();
  for (const port of ports)
    for (const target of targetsOf(state, service, port)) byPod.set(target.pod.metadata.uid, target);
  const endpoints = [...byPod.values()].map(({ pod, address }) => ({
    addresses: [address],
    conditions: {
      ready: takesRequests(pod),
      serving: isReady(pod),
      terminating: pod.metadata.deletionTimestamp !== undefined,
    },
    nodeName: pod.spec.nodeName,
    targetRef: reference(pod),
  }));
  const [first] = byPod.values();
  return {
    metadata: {
      name: `${metadata.name}-${metadata.uid.slice(0, 5)}`,
      labels: {
        ...metadata.labels,
        'kubernetes.io/service-name': metadata.name,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      },
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'Service',
          name: metadata.name,
          uid: metadata.uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    addressType: 'IPv4',
    endpoints,
    ports: ports.map((port) => ({
      name: port.name ?? '',
      port: first === undefined ? port.port : (portOf(first.pod, port.targetPort ?? port.port) ?? port.port),
      protocol: port.protocol ?? 'TCP',
    })),
  };
}
