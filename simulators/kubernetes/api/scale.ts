import { isJson, type Json, type KubeObject, valueAt } from '../objects.ts';
import { badRequest } from '../status.ts';

/** Gives how many replicas an object has and wants, as its subresource `scale`. */
export function toScale(object: KubeObject): Json {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const labels = valueAt(object, 'spec.selector.matchLabels');
  const selector = Object.entries(isJson(labels) ? labels : {}).map(([key, value]) => `${key}=${String(value)}`);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: valueAt(object, 'spec.replicas') ?? 0 },
    status: { replicas: valueAt(object, 'status.replicas') ?? 0, selector: selector.join(',') },
  };
}

/** Gives an object with the replicas that its subresource `scale` asks for. @throws {ApiError} 400 */
export function fromScale(object: KubeObject, scale: Json): Json {
  const replicas = valueAt(scale, 'spec.replicas') ?? 0;
  if (typeof replicas !== 'number' || !Number.isInteger(replicas) || replicas < 0) {
    throw badRequest(
      `Scale.autoscaling "${object.metadata.name}" is invalid: spec.replicas: Invalid value: must be greater than or equal to 0`,
    );
  }
  const resourceVersion = valueAt(scale, 'metadata.resourceVersion');
  return {
    ...object,
    metadata: { ...object.metadata, resourceVersion: resourceVersion ?? object.metadata.resourceVersion },
    spec: { ...(object['spec'] as Json), replicas },
  };
}
