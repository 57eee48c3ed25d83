import { randomInt, randomUUID } from 'node:crypto';
import { admit, mutate } from './admission/admit.ts';
import { allocate, releaseAllocated } from './admission/allocate.ts';
import { checkChange, checkObject } from './admission/check.ts';
import { setDefaults } from './admission/defaults.ts';
import { applyConfiguration, type Manager, noteUpdate } from './apply/managers.ts';
import { isJson, isSame, type Json, type KubeObject, type ManagedFields, type Service, textOf } from './objects.ts';
import { apiVersionOf, kinds, type Resource } from './resources.ts';
import { checkSchema, withoutNulls, withoutUnknown } from './schema/validate.ts';
import { badRequest, cause, conflict, invalid } from './status.ts';
import type { Store } from './store.ts';

/** How fields that a kind does not have are taken. */
export type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

/** What every write brings along. */
export interface WriteOptions {
  readonly manager: Manager;
  /** @default 'Warn' */
  readonly fieldValidation?: FieldValidation;
  /** Everything but the keeping. */
  readonly dryRun?: boolean;
}

/** What came of a write. */
export interface Written {
  readonly object: KubeObject;
  readonly warnings: readonly string[];
}

/** Kinds whose status may come with the object itself: who makes a node knows what it has. */
const statusOnCreate = new Set(['Node', 'Namespace', 'Pod']);

/** Writes objects the way a cluster's API server does: decode, default, check, admit, keep. */
export class Writer {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** @throws {ApiError} 400, 403, 404, 409, 422 */
  create(
    resource: Resource,
    input: Json,
    options: WriteOptions & { readonly namespace?: string | undefined },
  ): Written {
    const { value, warnings } = decode(resource, input, options.fieldValidation);
    return this.#make(resource, value, { ...options, warnings });
  }

  /**
   * Puts another version in an object's place.
   * @param input all of it; with the subresource `status` only that part of it counts
   * @throws {ApiError} 400, 403, 409, 422
   */
  update(resource: Resource, before: KubeObject, input: Json, options: WriteOptions): Written {
    const { value, warnings } = decode(resource, input, options.fieldValidation);
    const version = (value['metadata'] as Json | undefined)?.['resourceVersion'];
    if (version !== undefined && version !== '' && version !== before.metadata.resourceVersion) {
      const why = 'the object has been modified; please apply your changes to the latest version and try again';
      throw conflict(resource, before.metadata.name, why);
    }
    const next = this.#next(resource, before, value, options.manager.subresource);
    const time = now();
    next.metadata.managedFields = noteUpdate(resource, { before, after: next, manager: options.manager, time });
    return { object: this.#put(resource, before, next, options), warnings };
  }

  /**
   * Server-side apply: lays a configuration over what is there, or makes it.
   * @throws {ApiError} 400, 403, 409 with the fields that others own, 422
   */
  apply(
    resource: Resource,
    name: { readonly namespace: string | undefined; readonly name: string },
    input: Json,
    options: WriteOptions & { readonly force: boolean },
  ): Written {
    const { value, warnings } = decode(resource, input, 'Strict', { isApply: true });
    const metadata = (value['metadata'] ?? {}) as Json;
    if (Array.isArray(metadata['managedFields']) && metadata['managedFields'].length > 0) {
      throw badRequest('metadata.managedFields must be nil');
    }
    const before = this.#store.find(resource, name.namespace, name.name);
    const version = metadata['resourceVersion'];
    if (version !== undefined && version !== before?.metadata.resourceVersion) {
      throw conflict(
        resource,
        name.name,
        'the object has been modified; please apply your changes to the latest version and try again',
      );
    }
    if (before === undefined && options.manager.subresource !== undefined)
      this.#store.get(resource, name.namespace, name.name);
    const { object, managedFields } = applyConfiguration(resource, before, value, {
      manager: options.manager.name,
      force: options.force,
      time: now(),
    });
    if (before === undefined) {
      const named = { ...object, metadata: { ...(object['metadata'] as Json), name: name.name } };
      return this.#make(resource, named, { ...options, namespace: name.namespace, managedFields, warnings });
    }
    const next = this.#next(resource, before, object, options.manager.subresource);
    next.metadata.managedFields = managedFields;
    return { object: this.#put(resource, before, next, options), warnings };
  }

  #make(
    resource: Resource,
    value: Json,
    options: WriteOptions & {
      namespace?: string | undefined;
      managedFields?: ManagedFields[];
      warnings: readonly string[];
    },
  ): Written {
    const object = structuredClone(value) as KubeObject;
    const given = (value['metadata'] ?? {}) as Partial<KubeObject['metadata']>;
    const { managedFields: _none, ...kept } = given;
    const time = now();
    object.metadata = {
      ...kept,
      name: nameOf(resource, given),
      ...(resource.namespaced ? { namespace: options.namespace ?? 'default' } : {}),
      uid: randomUUID(),
      resourceVersion: '',
      creationTimestamp: time,
      ...(resource.definition.fields.has('spec') ? { generation: 1 } : {}),
    };
    delete object.metadata.deletionTimestamp;
    if (given.namespace !== undefined && resource.namespaced && given.namespace !== object.metadata.namespace) {
      throw badRequest(`the namespace of the provided object does not match the namespace sent on the request`);
    }
    if (resource.subresources.includes('status') && !statusOnCreate.has(resource.kind)) delete object['status'];
    if (resource === kinds.namespace) {
      object.metadata.labels = { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name };
    }
    setDefaults(resource, object);
    mutate(this.#store, resource, object);
    this.#check(resource, object, undefined);
    const warnings = [...options.warnings, ...admit(this.#store, resource, object)];
    object.metadata.managedFields =
      options.managedFields ??
      noteUpdate(resource, { before: undefined, after: object, manager: options.manager, time });
    if (options.dryRun === true) {
      if (this.#store.find(resource, object.metadata.namespace, object.metadata.name))
        this.#store.add(resource, object);
      return { object, warnings };
    }
    return { object: this.#store.add(resource, object), warnings };
  }

  /** What becomes of an object by an update: the fields that belong to the system stay. */
  #next(resource: Resource, before: KubeObject, value: Json, subresource: string | undefined): KubeObject {
    if (subresource === 'status') {
      const next = structuredClone({ ...before, status: value['status'] }) as KubeObject;
      if (next['status'] === undefined) delete next['status'];
      return next;
    }
    const next = structuredClone(value) as KubeObject;
    const { name, namespace, uid, resourceVersion, creationTimestamp, generation, deletionTimestamp } = before.metadata;
    const { deletionGracePeriodSeconds, generateName } = before.metadata;
    const given = (value['metadata'] ?? {}) as Partial<KubeObject['metadata']>;
    if (given.name !== undefined && given.name !== name) {
      throw badRequest(`the name of the object (${given.name}) does not match the name on the URL (${name})`);
    }
    if (given.uid !== undefined && given.uid !== uid) {
      const why = `Precondition failed: UID in precondition: ${given.uid}, UID in object meta: ${uid}`;
      throw conflict(resource, name, why);
    }
    next.apiVersion = before.apiVersion;
    next.kind = before.kind;
    next.metadata = {
      ...given,
      name,
      ...(namespace === undefined ? {} : { namespace }),
      uid,
      resourceVersion,
      creationTimestamp,
      ...(generation === undefined ? {} : { generation }),
      ...(generateName === undefined ? {} : { generateName }),
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
      ...(deletionGracePeriodSeconds === undefined ? {} : { deletionGracePeriodSeconds }),
    };
    if (resource.subresources.includes('status')) {
      if (before['status'] === undefined) delete next['status'];
      else next['status'] = before['status'];
    }
    if (resource === kinds.service) releaseAllocated(next, before as unknown as Service);
    if (resource === kinds.pod) keepPodDefaults(before, next);
    setDefaults(resource, next);
    if (generation !== undefined && !isSame(next['spec'], before['spec'])) next.metadata.generation = generation + 1;
    return next;
  }

  #put(resource: Resource, before: KubeObject, next: KubeObject, options: WriteOptions): KubeObject {
    if (isSame(before, next)) return before;
    this.#check(resource, next, before);
    if (options.dryRun === true) return next;
    const stored = this.#store.replace(resource, next);
    const isGone = stored.metadata.deletionTimestamp !== undefined && (stored.metadata.finalizers ?? []).length === 0;
    // A pod goes when its node has ended it, a namespace when it is empty.
    if (isGone && resource !== kinds.pod && resource !== kinds.namespace) this.#store.remove(resource, stored);
    return stored;
  }

  /** @throws {ApiError} 400 for a wrong type, 422 with all else that is wrong */
  #check(resource: Resource, object: KubeObject, before: KubeObject | undefined): void {
    const { name } = object.metadata;
    const ofSchema = checkSchema(resource, object);
    if (ofSchema.length > 0) throw invalid(resource, name, ofSchema);
    const causes = [
      ...checkObject(resource, object),
      ...(before === undefined ? [] : checkChange(resource, before, object)),
    ];
    if (causes.length > 0) throw invalid(resource, name, causes);
    if (resource !== kinds.service) return;
    const refused = allocate(this.#store, object as unknown as Service, before as unknown as Service | undefined);
    if (refused.length > 0) throw invalid(resource, name, refused);
  }
}

/** A time as objects carry it. */
export function now(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}

/** What the cluster has put into a pod stays where its writer says nothing of it. */
function keepPodDefaults(before: KubeObject, next: KubeObject): void {
  const spec = next['spec'];
  const had = before['spec'];
  if (!isJson(spec) || !isJson(had)) return;
  for (const [field, value] of Object.entries(had)) spec[field] ??= value;
}

function nameOf(resource: Resource, { name, generateName }: { name?: string; generateName?: string }): string {
  if (name !== undefined && name !== '') return name;
  if (generateName === undefined || generateName === '') {
    throw invalid(resource, '', [cause.required('metadata.name', 'name or generateName is required')]);
  }
  return generateName.slice(0, 58) + randomSuffix();
}

/** Five letters that make no word, as Kubernetes has them. */
export function randomSuffix(): string {
  const letters = 'bcdfghjklmnpqrstvwxz2456789';
  return Array.from({ length: 5 }, () => letters[randomInt(letters.length)]).join('');
}

/**
 * Reads an object: its kind must be the address's, and fields that this kind does not have are refused, told, or dropped.
 * @throws {ApiError} 400
 */
function decode(
  resource: Resource,
  input: Json,
  validation: FieldValidation = 'Warn',
  { isApply = false } = {},
): { value: Json; warnings: string[] } {
  const { kind, definition } = resource;
  const apiVersion = apiVersionOf(resource);
  if (isApply && (input['kind'] === undefined || input['apiVersion'] === undefined)) {
    throw badRequest("Object 'Kind' or 'apiVersion' is missing in the applied configuration");
  }
  const given = { apiVersion: input['apiVersion'] ?? apiVersion, kind: input['kind'] ?? kind };
  if (given.kind !== kind || given.apiVersion !== apiVersion) {
    throw badRequest(
      `${kind} in version "${resource.version}" cannot be handled as a ${kind}: no kind "${textOf(given.kind)}" is registered for version "${textOf(given.apiVersion)}" here`,
    );
  }
  const { value, unknown } = withoutUnknown(definition, withoutNulls({ ...input, ...given }) as Json);
  if (unknown.length === 0) return { value, warnings: [] };
  const told = unknown.map((field) => `unknown field "${field}"`);
  if (isApply) {
    const metadata = (input['metadata'] ?? {}) as Json;
    const what = `(${textOf(metadata['namespace'])}/${textOf(metadata['name'])}; ${apiVersion}, Kind=${kind})`;
    const fields = unknown.map((field) => `.${field}: field not declared in schema`).join('\n');
    throw badRequest(`failed to create typed patch object ${what}: errors:\n  ${fields}`);
  }
  if (validation === 'Strict') {
    throw badRequest(
      `${kind} in version "${resource.version}" cannot be handled as a ${kind}: strict decoding error: ${told.join(', ')}`,
    );
  }
  return { value, warnings: validation === 'Warn' ? told : [] };
}
