import { createHash } from 'node:crypto';
import { noteUpdate } from './apply/managers.ts';
import { isSame, type Json, type KubeObject, type Metadata } from './objects.ts';
import { kinds, type Resource } from './resources.ts';
import type { Store } from './store.ts';
import { now, randomSuffix, type Writer } from './writer.ts';

/** What an event is about. */
interface Involved {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Metadata;
}

/** Events that are kept; a cluster keeps them for an hour. */
const eventsMax = 5_000;

/** What controllers and nodes read and write the cluster with. */
export class ClusterState {
  readonly store: Store;
  readonly writer: Writer;

  constructor(store: Store, writer: Writer) {
    this.store = store;
    this.writer = writer;
  }

  /** Writes an object's status, unless it is that already; does nothing when the object is gone. */
  setStatus(
    resource: Resource,
    object: { readonly metadata: Metadata },
    status: object,
    manager = 'kube-controller-manager',
  ): void {
    const before = this.store.find(resource, object.metadata.namespace, object.metadata.name);
    if (before === undefined || before.metadata.uid !== object.metadata.uid || isSame(before['status'], status)) return;
    // Values that are undefined are no fields.
    const after = { ...before, status: JSON.parse(JSON.stringify(status)) as Json };
    const managedFields = noteUpdate(resource, {
      before,
      after,
      manager: { name: manager, operation: 'Update', subresource: 'status' },
      time: now(),
    });
    this.store.replace(resource, { ...after, metadata: { ...before.metadata, managedFields } });
  }

  /** Changes an object as one of the cluster's own parts does. */
  change(
    resource: Resource,
    object: { readonly metadata: Metadata },
    edit: (copy: KubeObject) => void,
    manager = 'kube-controller-manager',
  ): void {
    const before = this.store.find(resource, object.metadata.namespace, object.metadata.name);
    if (before === undefined) return;
    const copy = structuredClone(before);
    edit(copy);
    this.writer.update(resource, before, copy, { manager: { name: manager, operation: 'Update' } });
  }

  /** Tells what happened to an object; the same again counts on. */
  event(
    object: Involved,
    of: { type?: 'Normal' | 'Warning'; reason: string; message: string; component: string },
  ): void {
    const { metadata, apiVersion, kind } = object;
    const namespace = metadata.namespace ?? 'default';
    const { type = 'Normal', reason, message, component } = of;
    const key = createHash('sha256')
      .update([metadata.uid, type, reason, message].join('\n'))
      .digest('hex')
      .slice(0, 16);
    const name = `${metadata.name.slice(0, 230)}.${key}`;
    const time = now();
    const before = this.store.find(kinds.event, namespace, name);
    if (before !== undefined) {
      this.store.replace(kinds.event, { ...before, count: Number(before['count']) + 1, lastTimestamp: time });
      return;
    }
    const events = this.store.list(kinds.event);
    if (events.length >= eventsMax) {
      const oldest = events.toSorted((a, b) => (String(a['lastTimestamp']) < String(b['lastTimestamp']) ? -1 : 1))[0];
      if (oldest !== undefined) this.store.remove(kinds.event, oldest);
    }
    this.store.add(kinds.event, {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace, uid: `${key}-${randomSuffix()}`, resourceVersion: '', creationTimestamp: time },
      involvedObject: {
        apiVersion,
        kind,
        name: metadata.name,
        ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
        uid: metadata.uid,
        resourceVersion: metadata.resourceVersion,
      },
      type,
      reason,
      message,
      count: 1,
      firstTimestamp: time,
      lastTimestamp: time,
      eventTime: null,
      source: { component },
      reportingComponent: component,
      reportingInstance: '',
    });
  }
}

/** The fields that conditions of all kinds share. */
interface AnyCondition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

/** Puts a condition in the place of the one of its type; the time of the last transition stays while its status does. */
export function withCondition<T extends AnyCondition>(conditions: readonly T[] | undefined, next: T): T[] {
  const all = conditions ?? [];
  const before = all.find(({ type }) => type === next.type);
  const lastTransitionTime = before?.status === next.status ? (before.lastTransitionTime ?? now()) : now();
  const made: T = { ...next, lastTransitionTime };
  return before === undefined ? [...all, made] : all.map((one) => (one === before ? made : one));
}
