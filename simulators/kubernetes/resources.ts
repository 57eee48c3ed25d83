import { type Definition, definitionAt } from './schema/definitions.ts';

/** A kind of object that the cluster keeps. */
export interface Resource {
  /** `''` for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  readonly categories: readonly string[];
  /** Parts that are written on their own. */
  readonly subresources: readonly ('status' | 'scale' | 'log' | 'eviction')[];
  /** Module of `kubernetes-models` that declares it. */
  readonly model: string;
  /** Module there that checks it. */
  readonly check: string;
  /** Fields that lists may be selected by, beside name and namespace. */
  readonly fieldLabels: readonly string[];
  readonly definition: Definition;
}

type Row = Partial<Omit<Resource, 'definition' | 'model' | 'check'>> & {
  readonly kind: string;
  readonly plural: string;
};

function rows(group: string, version: string, list: readonly Row[]): Resource[] {
  return list.map((row) => {
    const model = `${group === '' ? '' : `${group}/`}${version}/${row.kind}`;
    const short = group === '' ? 'Core' : capital(group.replace(/\..*$/, ''));
    return {
      group,
      version,
      shortNames: [],
      namespaced: true,
      categories: [],
      subresources: [],
      fieldLabels: [],
      ...row,
      model,
      check: `IoK8sApi${short}${capital(version)}${row.kind}`,
      definition: definitionAt(model),
    };
  });
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const all = ['all'];
const eventLabels = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'];

/** Every kind that is kept, in the order that discovery lists them. */
export const resources: readonly Resource[] = [
  ...rows('', 'v1', [
    { kind: 'ConfigMap', plural: 'configmaps', shortNames: ['cm'] },
    { kind: 'Endpoints', plural: 'endpoints', shortNames: ['ep'] },
    {
      kind: 'Event',
      plural: 'events',
      shortNames: ['ev'],
      fieldLabels: ['reason', 'type', 'reportingComponent', ...eventLabels.map((field) => `involvedObject.${field}`)],
    },
    { kind: 'LimitRange', plural: 'limitranges', shortNames: ['limits'] },
    {
      kind: 'Namespace',
      plural: 'namespaces',
      shortNames: ['ns'],
      namespaced: false,
      subresources: ['status'],
      fieldLabels: ['status.phase'],
    },
    {
      kind: 'Node',
      plural: 'nodes',
      shortNames: ['no'],
      namespaced: false,
      subresources: ['status'],
      fieldLabels: ['spec.unschedulable'],
    },
    {
      kind: 'Pod',
      plural: 'pods',
      shortNames: ['po'],
      categories: all,
      subresources: ['status', 'log', 'eviction'],
      fieldLabels: ['spec.nodeName', 'spec.restartPolicy', 'spec.serviceAccountName', 'status.phase', 'status.podIP'],
    },
    { kind: 'ResourceQuota', plural: 'resourcequotas', shortNames: ['quota'], subresources: ['status'] },
    { kind: 'Secret', plural: 'secrets', fieldLabels: ['type'] },
    { kind: 'ServiceAccount', plural: 'serviceaccounts', shortNames: ['sa'] },
    {
      kind: 'Service',
      plural: 'services',
      shortNames: ['svc'],
      categories: all,
      subresources: ['status'],
      fieldLabels: ['spec.clusterIP', 'spec.type'],
    },
  ]),
  ...rows('apps', 'v1', [
    {
      kind: 'Deployment',
      plural: 'deployments',
      shortNames: ['deploy'],
      categories: all,
      subresources: ['status', 'scale'],
    },
    {
      kind: 'ReplicaSet',
      plural: 'replicasets',
      shortNames: ['rs'],
      categories: all,
      subresources: ['status', 'scale'],
      fieldLabels: ['status.replicas'],
    },
  ]),
  ...rows('autoscaling', 'v2', [
    {
      kind: 'HorizontalPodAutoscaler',
      plural: 'horizontalpodautoscalers',
      shortNames: ['hpa'],
      categories: all,
      subresources: ['status'],
    },
  ]),
  ...rows('coordination.k8s.io', 'v1', [{ kind: 'Lease', plural: 'leases' }]),
  ...rows('discovery.k8s.io', 'v1', [{ kind: 'EndpointSlice', plural: 'endpointslices' }]),
  ...rows('networking.k8s.io', 'v1', [{ kind: 'NetworkPolicy', plural: 'networkpolicies', shortNames: ['netpol'] }]),
  ...rows('policy', 'v1', [
    { kind: 'PodDisruptionBudget', plural: 'poddisruptionbudgets', shortNames: ['pdb'], subresources: ['status'] },
  ]),
  ...rows('rbac.authorization.k8s.io', 'v1', [
    { kind: 'ClusterRole', plural: 'clusterroles', namespaced: false },
    { kind: 'ClusterRoleBinding', plural: 'clusterrolebindings', namespaced: false },
    { kind: 'Role', plural: 'roles' },
    { kind: 'RoleBinding', plural: 'rolebindings' },
  ]),
];

/** Finds a kind by where it is in the API. */
export function findResource(group: string, version: string, plural: string): Resource | undefined {
  return resources.find((one) => one.group === group && one.version === version && one.plural === plural);
}

function plural(name: string): Resource {
  const found = resources.find((one) => one.plural === name);
  if (found === undefined) throw new Error(`There is no kind "${name}"`);
  return found;
}

/** The kinds that the cluster itself works with. */
export const kinds = {
  configMap: plural('configmaps'),
  deployment: plural('deployments'),
  endpoints: plural('endpoints'),
  endpointSlice: plural('endpointslices'),
  event: plural('events'),
  autoscaler: plural('horizontalpodautoscalers'),
  limitRange: plural('limitranges'),
  namespace: plural('namespaces'),
  node: plural('nodes'),
  pod: plural('pods'),
  budget: plural('poddisruptionbudgets'),
  quota: plural('resourcequotas'),
  replicaSet: plural('replicasets'),
  secret: plural('secrets'),
  service: plural('services'),
  serviceAccount: plural('serviceaccounts'),
} as const;

/** `apps/v1`, or `v1` for the core group. */
export function apiVersionOf({ group, version }: { readonly group: string; readonly version: string }): string {
  return group === '' ? version : `${group}/${version}`;
}
