import type { Manager } from '../apply/managers.ts';
import { isJson, type Json, type KubeObject, textOf } from '../objects.ts';
import { applyJsonPatch } from '../patch/json-patch.ts';
import { applyMergePatch, applyStrategicPatch } from '../patch/merge-patch.ts';
import { remove, type RemoveOptions } from '../remover.ts';
import type { Resource } from '../resources.ts';
import { ApiError, badRequest, notFound } from '../status.ts';
import type { Store } from '../store.ts';
import type { FieldValidation, WriteOptions, Writer, Written } from '../writer.ts';
import type { Address } from './address.ts';
import type { Exchange } from './exchange.ts';
import { filterOf, formOf, listOf, single } from './lists.ts';
import { fromScale, toScale } from './scale.ts';
import { watch } from './watch.ts';

/** Media types of patches, and what each means. */
const patchTypes = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
  'application/apply-patch+yaml': 'apply',
} as const;

type Name = { readonly namespace: string | undefined; readonly name: string };

/** The verbs that all kinds of objects have. */
export class ObjectsApi {
  readonly #store: Store;
  readonly #writer: Writer;

  constructor(store: Store, writer: Writer) {
    this.#store = store;
    this.#writer = writer;
  }

  /** Answers a request for a collection, an object, or the part of an object that has its own address. */
  async answer(exchange: Exchange, address: Address): Promise<void> {
    const { resource, namespace, name, subresource } = address;
    if (name === undefined) return await this.#collection(exchange, resource, namespace);
    if (subresource !== undefined && !isPart(resource, subresource)) {
      throw new ApiError(
        404,
        'NotFound',
        `the server could not find the requested resource (${resource.plural}/${subresource})`,
      );
    }
    switch (exchange.method) {
      case 'GET':
        if (exchange.flag('watch')) return watch(this.#store, resource, exchange, { namespace, name });
        return exchange.answer(200, this.#shown(exchange, address, this.#store.get(resource, namespace, name)));
      case 'PUT':
        return await this.#put(exchange, address);
      case 'PATCH':
        return await this.#patch(exchange, address);
      case 'DELETE':
        if (subresource === undefined) return await this.#delete(exchange, resource, { namespace, name });
        throw notAllowed(exchange.method);
      default:
        throw notAllowed(exchange.method);
    }
  }

  async #collection(exchange: Exchange, resource: Resource, namespace: string | undefined): Promise<void> {
    switch (exchange.method) {
      case 'GET':
        if (exchange.flag('watch')) return watch(this.#store, resource, exchange, { namespace });
        return exchange.answer(200, listOf(this.#store, resource, exchange, namespace));
      case 'POST': {
        if (resource.namespaced && namespace === undefined) throw notAllowed(exchange.method);
        const written = this.#writer.create(resource, await exchange.object(), {
          ...optionsOf(exchange, { operation: 'Update' }),
          namespace,
        });
        exchange.warn(written.warnings);
        return exchange.answer(201, single(resource, written.object, formOf(exchange)));
      }
      case 'DELETE': {
        const options = await removeOptions(exchange);
        const filter = filterOf(exchange, resource);
        for (const object of this.#store.list(resource, namespace).filter(filter))
          remove(this.#store, resource, object, options);
        return exchange.answer(200, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' });
      }
      default:
        throw notAllowed(exchange.method);
    }
  }

  async #put(exchange: Exchange, { resource, namespace, name = '', subresource }: Address): Promise<void> {
    const input = await exchange.object();
    const options = optionsOf(exchange, { operation: 'Update', subresource });
    const before = this.#store.find(resource, namespace, name);
    if (before === undefined) throw notFound(resource, name);
    const next = subresource === 'scale' ? fromScale(before, input) : input;
    this.#written(
      exchange,
      { resource, name, ...ofSub(subresource) },
      this.#writer.update(resource, before, next, options),
    );
  }

  async #patch(exchange: Exchange, { resource, namespace, name = '', subresource }: Address): Promise<void> {
    const type = patchTypes[exchange.contentType as keyof typeof patchTypes];
    const patch = await exchange.body(Object.keys(patchTypes));
    const part = { resource, name, ...ofSub(subresource) };
    if (type === 'apply') {
      if (!isJson(patch)) throw badRequest('the applied configuration is no object');
      const had = this.#store.find(resource, namespace, name);
      return this.#written(
        exchange,
        part,
        this.#apply(exchange, { resource, namespace, name, subresource }, patch),
        had === undefined,
      );
    }
    const before = this.#store.get(resource, namespace, name);
    const shown = subresource === 'scale' ? toScale(before) : before;
    const patched =
      type === 'json' ? applyJsonPatch(shown, patch) : this.#merged(resource, shown, patch, type === 'strategic');
    const next = subresource === 'scale' ? fromScale(before, patched) : patched;
    const options = optionsOf(exchange, { operation: 'Update', subresource });
    this.#written(exchange, part, this.#writer.update(resource, before, next, options));
  }

  #apply(
    exchange: Exchange,
    { resource, namespace, name, subresource }: Name & { resource: Resource; subresource: string | undefined },
    input: Json,
  ): Written {
    const manager = exchange.query.get('fieldManager');
    if (manager === null || manager === '') {
      throw new ApiError(
        422,
        'Invalid',
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
      );
    }
    if (subresource === 'scale')
      throw badRequest('the scale of an object cannot be applied here: patch it, or apply the object');
    const options = optionsOf(exchange, { operation: 'Apply', subresource });
    return this.#writer.apply(resource, { namespace, name }, input, { ...options, force: exchange.flag('force') });
  }

  #merged(resource: Resource, before: Json, patch: unknown, isStrategic: boolean): Json {
    if (!isJson(patch)) throw badRequest('the patch is no object');
    return isStrategic ? applyStrategicPatch(resource.definition, before, patch) : applyMergePatch(before, patch);
  }

  async #delete(exchange: Exchange, resource: Resource, { namespace, name }: Name): Promise<void> {
    const options = await removeOptions(exchange);
    const object = this.#store.get(resource, namespace, name);
    const left = remove(this.#store, resource, object, options);
    if (left !== undefined) return exchange.answer(200, left);
    const { group, plural } = resource;
    const details = { name, ...(group === '' ? {} : { group }), kind: plural, uid: object.metadata.uid };
    exchange.answer(200, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details });
  }

  #shown(exchange: Exchange, { resource, subresource }: Address, object: KubeObject): Json {
    return subresource === 'scale' ? toScale(object) : single(resource, object, formOf(exchange));
  }

  #written(exchange: Exchange, address: Address, { object, warnings }: Written, isNew = false): void {
    exchange.warn(warnings);
    exchange.answer(isNew ? 201 : 200, this.#shown(exchange, address, object));
  }
}

function ofSub(subresource: string | undefined): { subresource?: string } {
  return subresource === undefined ? {} : { subresource };
}

function isPart({ subresources }: Resource, name: string): boolean {
  return (name === 'status' || name === 'scale') && subresources.includes(name);
}

function notAllowed(method: string): ApiError {
  return new ApiError(
    405,
    'MethodNotAllowed',
    `the server does not allow this method on the requested resource: ${method}`,
  );
}

/** Reads what a write is asked to do beside its object. @throws {ApiError} 400 */
export function optionsOf(
  exchange: Exchange,
  of: { readonly operation: Manager['operation']; readonly subresource?: string | undefined },
): WriteOptions {
  const { query } = exchange;
  const dryRun = query.get('dryRun');
  if (dryRun !== null && dryRun !== 'All')
    throw badRequest(`dryRun: Unsupported value: "${dryRun}": supported values: "All"`);
  const validation = query.get('fieldValidation') ?? 'Warn';
  if (!['Strict', 'Warn', 'Ignore', ''].includes(validation)) {
    throw badRequest(
      `fieldValidation: Unsupported value: "${validation}": supported values: "Ignore", "Strict", "Warn"`,
    );
  }
  const name = query.get('fieldManager') ?? exchange.userAgent;
  if (name.length > 128) throw badRequest('fieldManager: Too long: may not be more than 128 bytes');
  return {
    manager: { name, operation: of.operation, ...ofSub(of.subresource) },
    fieldValidation: (validation === '' ? 'Warn' : validation) as FieldValidation,
    dryRun: dryRun === 'All',
  };
}

/** Reads how something is to be deleted, from the body or the query. @throws {ApiError} 400, 422 */
export async function removeOptions(exchange: Exchange): Promise<RemoveOptions> {
  const body = (await exchange.body()) ?? {};
  if (!isJson(body)) throw badRequest('the options of a deletion are no object');
  const propagation = body['propagationPolicy'] ?? exchange.query.get('propagationPolicy') ?? undefined;
  if (propagation !== undefined && !['Background', 'Foreground', 'Orphan'].includes(textOf(propagation))) {
    const message = `DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "${textOf(propagation)}"`;
    throw new ApiError(422, 'Invalid', message);
  }
  const grace = body['gracePeriodSeconds'] ?? exchange.number('gracePeriodSeconds');
  const dryRun = body['dryRun'] ?? exchange.query.getAll('dryRun');
  return {
    propagation: (body['orphanDependents'] === true ? 'Orphan' : propagation) as RemoveOptions['propagation'],
    graceSeconds: typeof grace === 'number' ? grace : undefined,
    preconditions: isJson(body['preconditions']) ? body['preconditions'] : undefined,
    dryRun: Array.isArray(dryRun) && dryRun.includes('All'),
  };
}
