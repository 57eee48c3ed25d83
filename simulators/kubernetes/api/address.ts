import { findResource, type Resource } from '../resources.ts';

/** What of the API a path names. */
export interface Address {
  readonly resource: Resource;
  readonly namespace?: string;
  /** Absent for the collection. */
  readonly name?: string;
  readonly subresource?: string;
}

/** Reads `/apis/apps/v1/namespaces/NAMESPACE/deployments/NAME/scale`; undefined for what is no kind of object. */
export function addressOf(path: string): Address | undefined {
  const parts = path.split('/').slice(1).map(decodeURIComponent);
  const isCore = parts[0] === 'api';
  if (!isCore && parts[0] !== 'apis') return undefined;
  const [group = '', version = ''] = isCore ? ['', parts[1]] : parts.slice(1, 3);
  const rest = parts.slice(isCore ? 2 : 3);
  const inNamespace =
    rest[0] === 'namespaces' && rest.length > 2 ? findResource(group, version, rest[2] ?? '') : undefined;
  if (inNamespace?.namespaced === true) {
    const [, namespace = '', , name, ...sub] = rest;
    return address(inNamespace, { namespace, name, sub });
  }
  const [plural = '', name, ...sub] = rest;
  const resource = findResource(group, version, plural);
  // An object of a namespace has no address without it; its collection over all namespaces has one.
  if (resource === undefined || (resource.namespaced && name !== undefined)) return undefined;
  return address(resource, { name, sub });
}

function address(
  resource: Resource,
  { namespace, name, sub }: { namespace?: string; name: string | undefined; sub: readonly string[] },
): Address | undefined {
  if (sub.length > 1) return undefined;
  return {
    resource,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(sub[0] === undefined ? {} : { subresource: sub[0] }),
  };
}
