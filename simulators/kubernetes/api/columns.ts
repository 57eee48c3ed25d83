import { isJson, type Json, valueAt, textOf } from '../objects.ts';
import { age } from './age.ts';
import { podColumns } from './pod-columns.ts';

/** One column of a table: its name, what it shows, and whether only `-o wide` has it. */
export interface Column {
  readonly name: string;
  readonly type?: 'string' | 'integer';
  readonly isWide?: boolean;
  readonly cell: (object: Json) => unknown;
}

const name: Column = { name: 'Name', cell: (object) => valueAt(object, 'metadata.name') };
export const ageColumn: Column = { name: 'Age', cell: (object) => age(valueAt(object, 'metadata.creationTimestamp')) };

function at(path: string, otherwise: unknown = '<none>'): Column['cell'] {
  return (object) => valueAt(object, path) ?? otherwise;
}

function whole(title: string, path: string): Column {
  return { name: title, type: 'integer', cell: at(path, 0) };
}

function size(path: string): Column['cell'] {
  return (object) => {
    const value = valueAt(object, path);
    return Array.isArray(value) ? value.length : Object.keys(isJson(value) ? value : {}).length;
  };
}

function listAt(object: Json, path: string): Json[] {
  const value = valueAt(object, path);
  return Array.isArray(value) ? value.filter(isJson) : [];
}

/** `app=web,tier=front`, as `kubectl` writes selectors. */
function selectorText(value: unknown): string {
  if (!isJson(value)) return '<none>';
  const labels =
    isJson(value['matchLabels']) || Array.isArray(value['matchExpressions']) ? value['matchLabels'] : value;
  const text = Object.entries(isJson(labels) ? labels : {}).map(([key, text]) => `${key}=${textOf(text)}`);
  return text.length === 0 ? '<none>' : text.join(',');
}

/** The containers and images of a template, for `-o wide`. */
const templateColumns: readonly Column[] = [
  {
    name: 'Containers',
    isWide: true,
    cell: (object) =>
      listAt(object, 'spec.template.spec.containers')
        .map((one) => one['name'])
        .join(','),
  },
  {
    name: 'Images',
    isWide: true,
    cell: (object) =>
      listAt(object, 'spec.template.spec.containers')
        .map((one) => one['image'])
        .join(','),
  },
  { name: 'Selector', isWide: true, cell: (object) => selectorText(valueAt(object, 'spec.selector')) },
];

function portsText(object: Json): string {
  const ports = listAt(object, 'spec.ports').map(({ port, nodePort, protocol }) =>
    nodePort === undefined
      ? `${textOf(port)}/${textOf(protocol)}`
      : `${textOf(port)}:${textOf(nodePort)}/${textOf(protocol)}`,
  );
  return ports.length === 0 ? '<none>' : ports.join(',');
}

function externalText(object: Json): string {
  const given = listAt(object, 'status.loadBalancer.ingress').map(({ ip, hostname }) => textOf(ip ?? hostname));
  if (given.length > 0) return given.join(',');
  return valueAt(object, 'spec.type') === 'LoadBalancer' ? '<pending>' : '<none>';
}

function endpointsText(object: Json): string {
  const all = listAt(object, 'subsets').flatMap((subset) =>
    listAt(subset, 'addresses').flatMap(({ ip }) =>
      listAt(subset, 'ports').map(({ port }) => `${textOf(ip)}:${textOf(port)}`),
    ),
  );
  if (all.length === 0) return '<none>';
  return all.length <= 3 ? all.join(',') : `${all.slice(0, 3).join(',')} + ${all.length - 3} more...`;
}

/** `cpu: 12%/70%`, or `<unknown>` where nothing is measured yet. */
function targetsText(object: Json): string {
  const now = listAt(object, 'status.currentMetrics');
  const all = listAt(object, 'spec.metrics').map((metric, index) => {
    const of = (one: Json | undefined, path: string): unknown => valueAt(one, `resource.${path}`);
    const percent = of(metric, 'target.averageUtilization');
    const current = of(now[index], percent === undefined ? 'current.averageValue' : 'current.averageUtilization');
    const sign = percent === undefined ? '' : '%';
    const value = current === undefined ? '<unknown>' : `${textOf(current)}${sign}`;
    return `${textOf(of(metric, 'name'))}: ${value}/${textOf(percent ?? of(metric, 'target.averageValue'))}${sign}`;
  });
  return all.length === 0 ? '<none>' : all.join(', ');
}

function nodeStatus(object: Json): string {
  const ready = listAt(object, 'status.conditions').find(({ type }) => type === 'Ready');
  const words = [ready === undefined ? 'Unknown' : ready['status'] === 'True' ? 'Ready' : 'NotReady'];
  return [...words, ...(valueAt(object, 'spec.unschedulable') === true ? ['SchedulingDisabled'] : [])].join(',');
}

function nodeAddress(type: string): Column['cell'] {
  return (object) => listAt(object, 'status.addresses').find((one) => one['type'] === type)?.['address'] ?? '<none>';
}

function quotaText(prefix: (resource: string) => boolean): Column['cell'] {
  return (object) => {
    const hard = valueAt(object, 'status.hard');
    const used = valueAt(object, 'status.used');
    return Object.entries(isJson(hard) ? hard : {})
      .filter(([resource]) => prefix(resource))
      .map(([resource, amount]) => `${resource}: ${textOf(isJson(used) ? used[resource] : 0)}/${textOf(amount)}`)
      .join(', ');
  };
}

/** What `kubectl get` shows of each kind, in its order. */
const columns: Readonly<Record<string, readonly Column[]>> = {
  ConfigMap: [{ name: 'Data', type: 'integer', cell: size('data') }, ageColumn],
  Deployment: [
    {
      name: 'Ready',
      cell: (object) =>
        `${textOf(valueAt(object, 'status.readyReplicas'), '0')}/${textOf(valueAt(object, 'spec.replicas'), '0')}`,
    },
    whole('Up-to-date', 'status.updatedReplicas'),
    whole('Available', 'status.availableReplicas'),
    ageColumn,
    ...templateColumns,
  ],
  Endpoints: [{ name: 'Endpoints', cell: endpointsText }, ageColumn],
  EndpointSlice: [
    { name: 'AddressType', cell: at('addressType') },
    {
      name: 'Ports',
      cell: (object) =>
        listAt(object, 'ports')
          .map(({ port }) => port)
          .join(',') || '<unset>',
    },
    {
      name: 'Endpoints',
      cell: (object) =>
        listAt(object, 'endpoints')
          .flatMap(({ addresses }) => addresses as string[])
          .slice(0, 3)
          .join(',') || '<unset>',
    },
    ageColumn,
  ],
  HorizontalPodAutoscaler: [
    {
      name: 'Reference',
      cell: (object) =>
        `${textOf(valueAt(object, 'spec.scaleTargetRef.kind'))}/${textOf(valueAt(object, 'spec.scaleTargetRef.name'))}`,
    },
    { name: 'Targets', cell: targetsText },
    { name: 'MinPods', cell: at('spec.minReplicas', '<unset>') },
    whole('MaxPods', 'spec.maxReplicas'),
    whole('Replicas', 'status.currentReplicas'),
    ageColumn,
  ],
  Lease: [{ name: 'Holder', cell: at('spec.holderIdentity', '') }, ageColumn],
  Namespace: [{ name: 'Status', cell: at('status.phase', 'Active') }, ageColumn],
  NetworkPolicy: [
    { name: 'Pod-Selector', cell: (object) => selectorText(valueAt(object, 'spec.podSelector')) },
    ageColumn,
  ],
  Node: [
    { name: 'Status', cell: nodeStatus },
    { name: 'Roles', cell: () => '<none>' },
    ageColumn,
    { name: 'Version', cell: at('status.nodeInfo.kubeletVersion', '') },
    { name: 'Internal-IP', isWide: true, cell: nodeAddress('InternalIP') },
    { name: 'External-IP', isWide: true, cell: nodeAddress('ExternalIP') },
    { name: 'OS-Image', isWide: true, cell: at('status.nodeInfo.osImage', '<unknown>') },
    { name: 'Kernel-Version', isWide: true, cell: at('status.nodeInfo.kernelVersion', '<unknown>') },
    { name: 'Container-Runtime', isWide: true, cell: at('status.nodeInfo.containerRuntimeVersion', '<unknown>') },
  ],
  Pod: podColumns,
  PodDisruptionBudget: [
    { name: 'Min Available', cell: at('spec.minAvailable', 'N/A') },
    { name: 'Max Unavailable', cell: at('spec.maxUnavailable', 'N/A') },
    whole('Allowed Disruptions', 'status.disruptionsAllowed'),
    ageColumn,
  ],
  ReplicaSet: [
    whole('Desired', 'spec.replicas'),
    whole('Current', 'status.replicas'),
    whole('Ready', 'status.readyReplicas'),
    ageColumn,
    ...templateColumns,
  ],
  ResourceQuota: [
    { name: 'Request', cell: quotaText((resource) => !resource.startsWith('limits.')) },
    { name: 'Limit', cell: quotaText((resource) => resource.startsWith('limits.')) },
    ageColumn,
  ],
  Secret: [{ name: 'Type', cell: at('type') }, { name: 'Data', type: 'integer', cell: size('data') }, ageColumn],
  Service: [
    { name: 'Type', cell: at('spec.type') },
    { name: 'Cluster-IP', cell: at('spec.clusterIP') },
    { name: 'External-IP', cell: externalText },
    { name: 'Port(s)', cell: portsText },
    ageColumn,
    { name: 'Selector', isWide: true, cell: (object) => selectorText(valueAt(object, 'spec.selector')) },
  ],
  ServiceAccount: [{ name: 'Secrets', type: 'integer', cell: size('secrets') }, ageColumn],
};

/** Events have no name that anybody looks at. */
const eventColumns: readonly Column[] = [
  {
    name: 'Last Seen',
    cell: (object) => age(object['lastTimestamp'] ?? valueAt(object, 'metadata.creationTimestamp')),
  },
  { name: 'Type', cell: at('type') },
  { name: 'Reason', cell: at('reason') },
  {
    name: 'Object',
    cell: (object) =>
      `${textOf(valueAt(object, 'involvedObject.kind')).toLowerCase()}/${textOf(valueAt(object, 'involvedObject.name'))}`,
  },
  { name: 'Source', isWide: true, cell: at('source.component', '') },
  { name: 'Message', cell: at('message', '') },
  { name: 'Count', isWide: true, cell: at('count', 1) },
  { ...name, isWide: true },
];

/** Gives the columns of a kind. */
export function columnsOf(kind: string): readonly Column[] {
  return kind === 'Event' ? eventColumns : [name, ...(columns[kind] ?? [ageColumn])];
}
