import type { IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import type { IReplicaSet } from 'kubernetes-models/apps/v1/ReplicaSet';
import type { IHorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler';
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap';
import type { ILimitRange } from 'kubernetes-models/v1/LimitRange';
import type { INamespace } from 'kubernetes-models/v1/Namespace';
import type { INode } from 'kubernetes-models/v1/Node';
import type { IPod } from 'kubernetes-models/v1/Pod';
import type { IResourceQuota } from 'kubernetes-models/v1/ResourceQuota';
import type { ISecret } from 'kubernetes-models/v1/Secret';
import type { IService } from 'kubernetes-models/v1/Service';

/** Any JSON object. */
export type Json = Record<string, unknown>;

/** Whom an object belongs to. */
export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/** The part of `metadata` that the cluster itself looks at. */
export interface Metadata {
  name: string;
  /** Absent where the kind has none. */
  namespace?: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp: string;
  generateName?: string;
  generation?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  managedFields?: ManagedFields[];
}

/** Who has set which fields. */
export interface ManagedFields {
  manager: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  time: string;
  fieldsType: 'FieldsV1';
  fieldsV1: Json;
  subresource?: string;
}

/** An object of the cluster. What is stored is never changed, only replaced. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: Metadata;
  [field: string]: unknown;
}

/** An object of a known kind, checked when it was written. */
type Stored<T> = Omit<T, 'metadata'> & { apiVersion: string; kind: string; metadata: Metadata };

export type Pod = Stored<IPod> & { spec: NonNullable<IPod['spec']> };
export type PodSpec = Pod['spec'];
export type Container = PodSpec['containers'][number];
export type PodStatus = NonNullable<IPod['status']>;
export type ContainerStatus = NonNullable<PodStatus['containerStatuses']>[number];
export type Probe = NonNullable<Container['livenessProbe']>;
export type Deployment = Stored<IDeployment> & { spec: NonNullable<IDeployment['spec']> };
export type ReplicaSet = Stored<IReplicaSet> & { spec: NonNullable<IReplicaSet['spec']> };
export type Service = Stored<IService> & { spec: NonNullable<IService['spec']> };
export type Autoscaler = Stored<IHorizontalPodAutoscaler> & { spec: NonNullable<IHorizontalPodAutoscaler['spec']> };
export type DisruptionBudget = Stored<IPodDisruptionBudget>;
export type Node = Stored<INode>;
export type Namespace = Stored<INamespace>;
export type Secret = Stored<ISecret>;
export type ConfigMap = Stored<IConfigMap>;
export type Quota = Stored<IResourceQuota>;
export type LimitRange = Stored<ILimitRange>;

/** Says that a value is a JSON object, no list and not null. */
export function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Gives what is at a path of fields, or undefined. */
export function valueAt(value: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((at, field) => (isJson(at) ? at[field] : undefined), value);
}

/** Writes any JSON value as people read it; what is not there as the other text. */
export function textOf(value: unknown, otherwise = ''): string {
  if (value === undefined || value === null) return otherwise;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Compares two JSON values, whatever the order of their fields; a field that is undefined is none. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => isSame(item, b[index]));
  }
  if (!isJson(a) || !isJson(b)) return false;
  const fields = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...fields].every((field) => isSame(a[field], b[field]));
}

/** The object that another one is controlled by, if any. */
export function controllerOf(object: { metadata: Metadata }): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find(({ controller }) => controller === true);
}
