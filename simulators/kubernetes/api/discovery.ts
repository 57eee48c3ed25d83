import type { Json } from '../objects.ts';
import { apiVersionOf, type Resource, resources } from '../resources.ts';

/** The version of Kubernetes whose API this is; the schema's package is of about the same. */
export const kubernetesVersion = { major: '1', minor: '33' } as const;

const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

/** Groups that are answered from what is measured, and kept nowhere. */
const metricsGroup = { group: 'metrics.k8s.io', version: 'v1beta1' } as const;
const authorizationGroup = { group: 'authorization.k8s.io', version: 'v1' } as const;

interface GroupVersion {
  readonly group: string;
  readonly version: string;
}

/** Every group and its version, in the order that they are listed. */
function groupVersions(): GroupVersion[] {
  const all = [...resources.map(({ group, version }) => ({ group, version })), authorizationGroup, metricsGroup];
  return all.filter((one, index) => all.findIndex((other) => other.group === one.group) === index);
}

/** Answers `/api`, `/apis`, `/api/v1`, `/apis/GROUP`, `/apis/GROUP/VERSION`, `/version`; undefined for other paths. */
export function discover(path: string, accept: string): { readonly type: string; readonly body: Json } | undefined {
  const aggregated = /application\/json;g=apidiscovery\.k8s\.io;v=(v2(?:beta1)?);as=APIGroupDiscoveryList/.exec(
    accept,
  )?.[1];
  if (aggregated !== undefined && (path === '/api' || path === '/apis')) {
    const type = `application/json;g=apidiscovery.k8s.io;v=${aggregated};as=APIGroupDiscoveryList`;
    return { type, body: aggregatedList(path === '/api', aggregated) };
  }
  const body = plain(path);
  return body === undefined ? undefined : { type: 'application/json', body };
}

function plain(path: string): Json | undefined {
  if (path === '/api') return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
  if (path === '/apis')
    return {
      kind: 'APIGroupList',
      apiVersion: 'v1',
      groups: groupVersions()
        .filter(({ group }) => group !== '')
        .map(groupOf),
    };
  if (path === '/version') return versionInfo();
  const found = groupVersions().find((one) => {
    const prefix = one.group === '' ? '/api' : '/apis';
    return path === `${prefix}/${apiVersionOf(one)}`;
  });
  if (found !== undefined) return resourceList(found);
  const group = groupVersions().find((one) => one.group !== '' && path === `/apis/${one.group}`);
  return group === undefined ? undefined : { kind: 'APIGroup', apiVersion: 'v1', ...groupOf(group) };
}

function groupOf(one: GroupVersion): Json {
  const version = { groupVersion: apiVersionOf(one), version: one.version };
  return { name: one.group, versions: [version], preferredVersion: version };
}

function versionInfo(): Json {
  const { major, minor } = kubernetesVersion;
  return {
    major,
    minor,
    gitVersion: `v${major}.${minor}.0+modelferry`,
    gitCommit: '',
    gitTreeState: 'clean',
    buildDate: '1970-01-01T00:00:00Z',
    goVersion: 'none',
    compiler: 'none',
    platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
  };
}

/** A kind as discovery lists it. */
interface Listed {
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly subresources: readonly {
    readonly name: string;
    readonly kind: string;
    readonly of: GroupVersion;
    readonly verbs: readonly string[];
  }[];
}

function listedOf({ group, version }: GroupVersion): Listed[] {
  if (group === metricsGroup.group) {
    const measured = { verbs: ['get', 'list'], shortNames: [], categories: [], subresources: [] };
    return [
      { plural: 'nodes', singular: '', kind: 'NodeMetrics', namespaced: false, ...measured },
      { plural: 'pods', singular: '', kind: 'PodMetrics', namespaced: true, ...measured },
    ];
  }
  if (group === authorizationGroup.group) {
    const kind = 'SelfSubjectAccessReview';
    const none = { shortNames: [], categories: [], subresources: [] };
    return [
      {
        plural: 'selfsubjectaccessreviews',
        singular: kind.toLowerCase(),
        kind,
        namespaced: false,
        verbs: ['create'],
        ...none,
      },
    ];
  }
  return resources.filter((one) => one.group === group && one.version === version).map(ofResource);
}

function ofResource(resource: Resource): Listed {
  return {
    ...resource,
    singular: resource.kind.toLowerCase(),
    verbs,
    subresources: resource.subresources.map((name) => {
      const own = { name, kind: resource.kind, of: resource, verbs: ['get', 'patch', 'update'] };
      if (name === 'scale') return { ...own, kind: 'Scale', of: { group: 'autoscaling', version: 'v1' } };
      if (name === 'log') return { ...own, verbs: ['get'] };
      return name === 'eviction'
        ? { ...own, kind: 'Eviction', of: { group: 'policy', version: 'v1' }, verbs: ['create'] }
        : own;
    }),
  };
}

function resourceList(of: GroupVersion): Json {
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: apiVersionOf(of),
    resources: listedOf(of).flatMap(
      ({ plural, singular, kind, namespaced, verbs, shortNames, categories, subresources }) => [
        {
          name: plural,
          singularName: singular,
          namespaced,
          kind,
          verbs,
          ...(shortNames.length === 0 ? {} : { shortNames }),
          ...(categories.length === 0 ? {} : { categories }),
        },
        ...subresources.map((sub) => ({
          name: `${plural}/${sub.name}`,
          singularName: '',
          namespaced,
          ...(sub.of.group === of.group ? {} : { group: sub.of.group, version: sub.of.version }),
          kind: sub.kind,
          verbs: sub.verbs,
        })),
      ],
    ),
  };
}

/** @see https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery */
function aggregatedList(isCore: boolean, version: string): Json {
  const groups = groupVersions().filter(({ group }) => (group === '') === isCore);
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: groups.map((one) => ({
      metadata: isCore ? { creationTimestamp: null } : { name: one.group, creationTimestamp: null },
      versions: [{ version: one.version, freshness: 'Current', resources: listedOf(one).map(aggregated(one)) }],
    })),
  };
}

function aggregated(of: GroupVersion): (listed: Listed) => Json {
  return ({ plural, singular, kind, namespaced, verbs, shortNames, categories, subresources }) => ({
    resource: plural,
    responseKind: { group: of.group, version: of.version, kind },
    scope: namespaced ? 'Namespaced' : 'Cluster',
    singularResource: singular,
    verbs,
    ...(shortNames.length === 0 ? {} : { shortNames }),
    ...(categories.length === 0 ? {} : { categories }),
    ...(subresources.length === 0
      ? {}
      : {
          subresources: subresources.map((sub) => ({
            subresource: sub.name,
            responseKind: { group: sub.of.group, version: sub.of.version, kind: sub.kind },
            verbs: sub.verbs,
          })),
        }),
  });
}
