import type { KubeObject } from './objects.ts';
import { ApiError, alreadyExists, notFound } from './status.ts';
import type { Resource } from './resources.ts';

/** What happened to an object. */
export interface Change {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly revision: number;
  readonly resource: Resource;
  readonly object: KubeObject;
  /** What it was before. */
  readonly previous?: KubeObject;
}

/** Changes that are remembered for who watches from an older revision; who is further behind gets 410. */
const changesMax = 20_000;
/** Objects that one cluster holds at most. */
const objectsMax = 50_000;

/**
 * The objects of the cluster, in memory.
 *
 * Every change takes the next revision, which is the object's `resourceVersion` then, and is told to all listeners in that order
 * before the call comes back. Objects are replaced, never changed.
 */
export class Store {
  readonly #objects = new Map<Resource, Map<string, KubeObject>>();
  readonly #changes: Change[] = [];
  readonly #listeners = new Set<(change: Change) => void>();
  #revision = 1;

  /** The revision of the last change. */
  get revision(): number {
    return this.#revision;
  }

  find<T = KubeObject>(resource: Resource, namespace: string | undefined, name: string): T | undefined {
    // Checked against the kind's schema when it was written.
    return this.#of(resource).get(keyOf(resource, namespace, name)) as T | undefined;
  }

  /** @throws {ApiError} 404 when it is not there */
  get<T = KubeObject>(resource: Resource, namespace: string | undefined, name: string): T {
    const found = this.find<T>(resource, namespace, name);
    if (found === undefined) throw notFound(resource, name);
    return found;
  }

  /** Gives all of a kind, of one namespace or of all, by namespace and name. */
  list<T = KubeObject>(resource: Resource, namespace?: string): T[] {
    const prefix = namespace === undefined || !resource.namespaced ? '' : `${namespace}/`;
    const keys = [...this.#of(resource).keys()].filter((key) => key.startsWith(prefix)).sort();
    return keys.map((key) => this.#of(resource).get(key) as T);
  }

  /** @throws {ApiError} 409 when the name is taken, 507 when the cluster is full */
  add(resource: Resource, object: KubeObject): KubeObject {
    const objects = this.#of(resource);
    const key = keyOf(resource, object.metadata.namespace, object.metadata.name);
    if (objects.has(key)) throw alreadyExists(resource, object.metadata.name);
    if (objects.size >= objectsMax)
      throw new ApiError(507, '', `the simulator holds ${objectsMax} objects of a kind at most`);
    return this.#change('ADDED', resource, object);
  }

  /** Puts another in an object's place. */
  replace(resource: Resource, object: KubeObject): KubeObject {
    return this.#change('MODIFIED', resource, object);
  }

  /** Takes an object away; does nothing when it is not there. */
  remove(resource: Resource, { metadata }: KubeObject): void {
    const object = this.find(resource, metadata.namespace, metadata.name);
    if (object?.metadata.uid === metadata.uid) this.#change('DELETED', resource, object);
  }

  /** Tells of every change from now on; the function that comes back ends it. */
  listen(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Gives what happened after a revision.
   * @throws {ApiError} 410 when that is too long ago
   */
  since(revision: number): readonly Change[] {
    const oldest = this.#changes[0]?.revision ?? this.#revision + 1;
    if (revision + 1 < oldest) {
      throw new ApiError(410, 'Expired', `too old resource version: ${revision} (${oldest})`);
    }
    return this.#changes.filter((change) => change.revision > revision);
  }

  #of(resource: Resource): Map<string, KubeObject> {
    const found = this.#objects.get(resource);
    if (found !== undefined) return found;
    const made = new Map<string, KubeObject>();
    this.#objects.set(resource, made);
    return made;
  }

  #change(type: Change['type'], resource: Resource, object: KubeObject): KubeObject {
    this.#revision += 1;
    const objects = this.#of(resource);
    const key = keyOf(resource, object.metadata.namespace, object.metadata.name);
    const previous = objects.get(key);
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#revision) } };
    if (type === 'DELETED') objects.delete(key);
    else objects.set(key, stored);
    const change: Change = {
      type,
      revision: this.#revision,
      resource,
      object: stored,
      ...(previous === undefined ? {} : { previous }),
    };
    this.#changes.push(change);
    if (this.#changes.length > changesMax) this.#changes.splice(0, changesMax / 10);
    for (const listener of this.#listeners) listener(change);
    return stored;
  }
}

function keyOf(resource: Resource, namespace: string | undefined, name: string): string {
  return resource.namespaced ? `${namespace ?? ''}/${name}` : name;
}
