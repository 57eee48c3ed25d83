/** How the items of a list are told apart when several people write to it. */
export type ListMerge =
  | { readonly by: 'atomic' }
  | { readonly by: 'set' }
  | {
      readonly by: 'keys';
      readonly keys: readonly string[];
      /** Values of keys that are not given. */
      readonly defaults?: Readonly<Record<string, string>>;
      /** The key of a strategic merge patch where that is another. */
      readonly patchKey?: string;
    };

const byName: ListMerge = { by: 'keys', keys: ['name'] };
const byType: ListMerge = { by: 'keys', keys: ['type'] };
const byIp: ListMerge = { by: 'keys', keys: ['ip'] };
const set: ListMerge = { by: 'set' };
const tcp = { protocol: 'TCP' };
const meta = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const core = 'io.k8s.api.core.v1';

/**
 * Lists that are merged item by item, by type and field; every other list is replaced as a whole. `kubernetes-models` does not carry
 * these marks (`+listType`, `+patchMergeKey`); they are written down from the API reference.
 * @see https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
 */
const lists: Readonly<Record<string, ListMerge>> = {
  [`${meta}.ObjectMeta.finalizers`]: set,
  [`${meta}.ObjectMeta.ownerReferences`]: { by: 'keys', keys: ['uid'] },
  [`${core}.PodSpec.containers`]: byName,
  [`${core}.PodSpec.initContainers`]: byName,
  [`${core}.PodSpec.ephemeralContainers`]: byName,
  [`${core}.PodSpec.imagePullSecrets`]: byName,
  [`${core}.PodSpec.volumes`]: byName,
  [`${core}.PodSpec.hostAliases`]: byIp,
  [`${core}.PodSpec.schedulingGates`]: byName,
  [`${core}.PodSpec.topologySpreadConstraints`]: {
    by: 'keys',
    keys: ['topologyKey', 'whenUnsatisfiable'],
    patchKey: 'topologyKey',
  },
  [`${core}.PodStatus.conditions`]: byType,
  [`${core}.PodStatus.podIPs`]: byIp,
  [`${core}.PodStatus.hostIPs`]: byIp,
  [`${core}.Container.env`]: byName,
  [`${core}.Container.ports`]: {
    by: 'keys',
    keys: ['containerPort', 'protocol'],
    defaults: tcp,
    patchKey: 'containerPort',
  },
  [`${core}.Container.volumeMounts`]: { by: 'keys', keys: ['mountPath'] },
  [`${core}.Container.volumeDevices`]: { by: 'keys', keys: ['devicePath'] },
  [`${core}.ResourceRequirements.claims`]: byName,
  [`${core}.ServiceSpec.ports`]: { by: 'keys', keys: ['port', 'protocol'], defaults: tcp, patchKey: 'port' },
  [`${core}.ServiceStatus.conditions`]: byType,
  [`${core}.ServiceAccount.secrets`]: byName,
  [`${core}.NamespaceStatus.conditions`]: byType,
  [`${core}.NodeSpec.podCIDRs`]: set,
  [`${core}.NodeStatus.addresses`]: byType,
  [`${core}.NodeStatus.conditions`]: byType,
  'io.k8s.api.apps.v1.DeploymentStatus.conditions': byType,
  'io.k8s.api.apps.v1.ReplicaSetStatus.conditions': byType,
  'io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus.conditions': byType,
  'io.k8s.api.policy.v1.PodDisruptionBudgetStatus.conditions': byType,
};

/** Objects that are one value: who writes one field owns all. */
const atomicObjects = new Set([
  `${meta}.LabelSelector`,
  `${core}.ObjectReference`,
  `${core}.LocalObjectReference`,
  `${core}.SecretKeySelector`,
  `${core}.ConfigMapKeySelector`,
  `${core}.ObjectFieldSelector`,
  `${core}.ResourceFieldSelector`,
  `${core}.NodeSelector`,
  `${core}.NodeSelectorTerm`,
  `${core}.SecretReference`,
]);

/** Maps that are one value. */
const atomicMaps = new Set([
  `${core}.PodSpec.nodeSelector`,
  `${core}.ServiceSpec.selector`,
  `${core}.ResourceQuotaSpec.scopes`,
]);

/** How a list field is merged. */
export function listMerge(definition: string, field: string): ListMerge {
  return lists[`${definition}.${field}`] ?? { by: 'atomic' };
}

/** Whether an object or map is written as a whole. */
export function isAtomic(definition: string, field: string, type: string | undefined): boolean {
  return atomicMaps.has(`${definition}.${field}`) || (type !== undefined && atomicObjects.has(type));
}
