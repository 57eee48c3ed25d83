import type { Json, KubeObject } from '../objects.ts';
import { apiVersionOf, type Resource } from '../resources.ts';
import { fieldFilter, type Filter, labelFilter } from '../selectors.ts';
import { ApiError, badRequest } from '../status.ts';
import type { Store } from '../store.ts';
import type { Exchange } from './exchange.ts';
import { type IncludeObject, tableOf } from './table.ts';

/** How objects are to be given: as they are, as a table, or their metadata alone. */
export interface Form {
  readonly kind: 'object' | 'table' | 'metadata';
  readonly include: IncludeObject;
}

/**
 * Reads off `Accept` how objects are wanted; the first form that is known counts.
 * @throws {ApiError} 406 when none is
 */
export function formOf(exchange: Exchange): Form {
  const include = exchange.query.get('includeObject');
  const included = include === 'None' || include === 'Object' ? include : 'Metadata';
  for (const wanted of exchange.accept.split(',').map((text) => text.trim())) {
    const [type = '', ...parameters] = wanted.split(';').map((text) => text.trim());
    const as = parameters.find((text) => text.startsWith('as='))?.slice(3);
    if (type !== 'application/json' && type !== 'application/*' && type !== '*/*') continue;
    if (as === undefined) return { kind: 'object', include: included };
    if (!parameters.includes('v=v1')) continue;
    if (as === 'Table') return { kind: 'table', include: included };
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList')
      return { kind: 'metadata', include: included };
  }
  throw new ApiError(406, 'NotAcceptable', 'only the following media types are accepted: application/json');
}

/** Reads which objects of a collection are wanted. @throws {ApiError} 400 */
export function filterOf(exchange: Exchange, resource: Resource, name?: string): Filter {
  const labels = labelFilter(exchange.query.get('labelSelector') ?? '');
  const fields = fieldFilter(exchange.query.get('fieldSelector') ?? '', resource);
  return (object) =>
    (name === undefined || (object['metadata'] as Json)['name'] === name) && labels(object) && fields(object);
}

/** Gives one object in the wanted form. */
export function single(resource: Resource, object: KubeObject, form: Form): Json {
  if (form.kind === 'object') return object;
  if (form.kind === 'metadata') return partial(object);
  const metadata = { resourceVersion: object.metadata.resourceVersion };
  return tableOf(resource, [object], { metadata, include: form.include, withColumns: true });
}

function partial({ metadata }: KubeObject): Json {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata };
}

/** Gives a collection in the wanted form, or a page of it. @throws {ApiError} 400, 410 */
export function listOf(store: Store, resource: Resource, exchange: Exchange, namespace: string | undefined): Json {
  const form = formOf(exchange);
  const filter = filterOf(exchange, resource);
  const all = store.list(resource, namespace).filter(filter);
  const { items, metadata } = pageOf(all, exchange, String(store.revision));
  if (form.kind === 'table') return tableOf(resource, items, { metadata, include: form.include, withColumns: true });
  if (form.kind === 'metadata') {
    return { kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata, items: items.map(partial) };
  }
  return {
    kind: `${resource.kind}List`,
    apiVersion: apiVersionOf(resource),
    metadata,
    // As a cluster, which leaves out what the list says.
    items: items.map(({ kind: _kind, apiVersion: _version, ...rest }) => rest),
  };
}

function pageOf(
  all: readonly KubeObject[],
  exchange: Exchange,
  revision: string,
): { items: KubeObject[]; metadata: Json } {
  const limit = exchange.number('limit') ?? 0;
  const from = positionOf(exchange.query.get('continue'));
  const rest = from === undefined ? [...all] : all.filter((object) => keyOf(object) > from);
  const items = limit === 0 ? rest : rest.slice(0, limit);
  const last = items.at(-1);
  const left = rest.length - items.length;
  if (left === 0 || last === undefined) return { items, metadata: { resourceVersion: revision } };
  const next = Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', start: keyOf(last) })).toString('base64url');
  return { items, metadata: { resourceVersion: revision, continue: next, remainingItemCount: left } };
}

function keyOf({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}

function positionOf(token: string | null): string | undefined {
  if (token === null || token === '') return undefined;
  try {
    const { start } = JSON.parse(Buffer.from(token, 'base64url').toString()) as { start?: unknown };
    if (typeof start === 'string') return start;
  } catch {
    // Told below.
  }
  throw badRequest('continue key is not valid: it is none that this server has given');
}
