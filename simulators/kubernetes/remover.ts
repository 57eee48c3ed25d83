import type { Json, KubeObject, Pod } from './objects.ts';
import { kinds, type Resource, resources } from './resources.ts';
import { conflict } from './status.ts';
import type { Store } from './store.ts';

/** What becomes of the objects that belong to a deleted one. */
export type Propagation = 'Background' | 'Foreground' | 'Orphan';

/** The settings of a deletion. */
export interface RemoveOptions {
  /** @default 'Background' */
  readonly propagation?: Propagation | undefined;
  /** How long a pod may take to end. @default what the pod says */
  readonly graceSeconds?: number | undefined;
  readonly preconditions?:
    | { readonly uid?: string | undefined; readonly resourceVersion?: string | undefined }
    | undefined;
  readonly dryRun?: boolean;
}

export const foregroundFinalizer = 'foregroundDeletion';

/**
 * Deletes an object, or begins to: a pod goes when its containers have ended, an object with finalizers when these are gone.
 * @returns what is left of it, or nothing when it is gone
 * @throws {ApiError} 409 when it is not the one that was meant
 */
export function remove(
  store: Store,
  resource: Resource,
  object: KubeObject,
  options: RemoveOptions = {},
): KubeObject | undefined {
  const { metadata } = object;
  const { uid, resourceVersion } = options.preconditions ?? {};
  if (uid !== undefined && uid !== metadata.uid) {
    throw conflict(
      resource,
      metadata.name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metadata.uid}`,
    );
  }
  if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion) {
    throw conflict(
      resource,
      metadata.name,
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${metadata.resourceVersion})`,
    );
  }
  if (options.dryRun === true) return undefined;
  if (options.propagation === 'Orphan') orphan(store, object);
  const grace = resource === kinds.pod ? graceOf(object as unknown as Pod, options.graceSeconds) : 0;
  const finalizers = [
    ...(metadata.finalizers ?? []),
    ...(options.propagation === 'Foreground' && !metadata.finalizers?.includes(foregroundFinalizer)
      ? [foregroundFinalizer]
      : []),
  ];
  if (grace === 0 && finalizers.length === 0 && resource !== kinds.namespace) {
    store.remove(resource, object);
    return undefined;
  }
  const deletionTimestamp = metadata.deletionTimestamp ?? seconds(Date.now() + grace * 1000);
  const isShorter = metadata.deletionGracePeriodSeconds !== undefined && grace < metadata.deletionGracePeriodSeconds;
  if (
    metadata.deletionTimestamp !== undefined &&
    !isShorter &&
    finalizers.length === (metadata.finalizers ?? []).length
  ) {
    return object;
  }
  return store.replace(resource, {
    ...object,
    ...(resource === kinds.namespace ? { status: { ...(object['status'] as Json), phase: 'Terminating' } } : {}),
    metadata: {
      ...metadata,
      deletionTimestamp: isShorter ? seconds(Date.now() + grace * 1000) : deletionTimestamp,
      deletionGracePeriodSeconds: grace,
      ...(finalizers.length === 0 ? {} : { finalizers }),
    },
  });
}

function seconds(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19)}Z`;
}

/** A pod that no node has, or that has ended, has nobody to wait for. */
function graceOf({ spec, status }: Pod, wanted: number | undefined): number {
  const hasEnded = status?.phase === 'Succeeded' || status?.phase === 'Failed';
  if (spec.nodeName === undefined || hasEnded) return 0;
  return wanted ?? spec.terminationGracePeriodSeconds ?? 30;
}

/** Gives the objects that belong to another one. */
export function dependentsOf(store: Store, uid: string): { resource: Resource; object: KubeObject }[] {
  return resources.flatMap((resource) =>
    store
      .list(resource)
      .filter(({ metadata }) => metadata.ownerReferences?.some((owner) => owner.uid === uid))
      .map((object) => ({ resource, object })),
  );
}

function orphan(store: Store, { metadata: { uid } }: KubeObject): void {
  for (const { resource, object } of dependentsOf(store, uid)) {
    const { ownerReferences = [], ...metadata } = object.metadata;
    const left = ownerReferences.filter((owner) => owner.uid !== uid);
    store.replace(resource, {
      ...object,
      metadata: { ...metadata, ...(left.length === 0 ? {} : { ownerReferences: left }) },
    });
  }
}
