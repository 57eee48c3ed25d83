import type { Digest } from '../../shared/digest.ts';
import { isDigest } from '../../shared/digest.ts';
import { Refusal } from './refusal.ts';

/** What a request's path asks for. `reference` is a tag or a digest. */
export type Route =
  | { readonly kind: 'api' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'manifest'; readonly repository: string; readonly reference: string }
  | { readonly kind: 'blob'; readonly repository: string; readonly digest: Digest }
  | { readonly kind: 'uploads'; readonly repository: string }
  | { readonly kind: 'upload'; readonly repository: string; readonly id: string }
  | { readonly kind: 'referrers'; readonly repository: string; readonly digest: Digest };

// Distribution-spec 1.1, "Pulling manifests".
const namePattern = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const nameLengthMax = 255;

/**
 * Reads a path. Names may have several components, so the words are looked for from behind.
 * @throws {Refusal} when a name, tag or digest is none, or nothing is there
 */
export function routeOf(encodedPath: string): Route {
  const path = decodePath(encodedPath);
  if (path === '/v2' || path === '/v2/') return { kind: 'api' };
  if (path === '/v2/_catalog') return { kind: 'catalog' };
  const [, name = '', noun, rest = ''] =
    /^\/v2\/(.+)\/(manifests|blobs\/uploads|blobs|tags|referrers)\/([^/]*)$/.exec(path) ?? [];
  if (noun === undefined) throw new Refusal('UNSUPPORTED', 'there is no such endpoint', { status: 404 });
  const repository = checkName(name);
  switch (noun) {
    case 'tags':
      if (rest !== 'list') throw new Refusal('UNSUPPORTED', 'there is no such endpoint', { status: 404 });
      return { kind: 'tags', repository };
    case 'manifests':
      return { kind: 'manifest', repository, reference: checkTagOrDigest(rest) };
    case 'blobs/uploads':
      return rest === '' ? { kind: 'uploads', repository } : { kind: 'upload', repository, id: rest };
    case 'blobs':
      return { kind: 'blob', repository, digest: checkDigest(rest) };
    default:
      return { kind: 'referrers', repository, digest: checkDigest(rest) };
  }
}

/** Says whether a text may name a repository. */
export function isName(text: string): boolean {
  return text.length <= nameLengthMax && namePattern.test(text);
}

/** @throws {Refusal} DIGEST_INVALID when the text is no SHA-256 digest */
export function checkDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new Refusal('DIGEST_INVALID', `"${text}" is not sha256: and 64 lower-case hexadecimal digits`);
}

function checkName(name: string): string {
  if (isName(name)) return name;
  throw new Refusal('NAME_INVALID', `"${name}" may not name a repository`);
}

function checkTagOrDigest(reference: string): string {
  if (reference.includes(':')) return checkDigest(reference);
  if (tagPattern.test(reference)) return reference;
  throw new Refusal('MANIFEST_INVALID', `"${reference}" is neither a tag nor a digest`);
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw new Refusal('NAME_INVALID', `"${path}" is no percent-encoded path`);
  }
}
