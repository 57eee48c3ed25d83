import { type Digest, isDigest } from '../digest.ts';
import { FerryError } from '../errors.ts';

/** Names an image or artifact in a registry, wholly: nothing is left to a default. */
export interface Reference {
  /** `localhost:5000`, `example.azurecr.io`; Docker Hub's is `docker.io`. */
  readonly host: string;
  /** Path components with `/` between them: `models/digits`. */
  readonly repository: string;
  /** Absent where only a digest was given. */
  readonly tag?: string;
  /** What is meant, whatever the tag points at meanwhile. */
  readonly digest?: Digest;
}

// OCI distribution-spec 1.1, "Pulling manifests": <name> and <reference> as a tag.
const repositoryPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
// distribution/reference: a host name, an IPv4 address or an IPv6 address in brackets, and a port.
const hostPattern =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$/;
/** Longest repository name with its host; distribution/reference's NameTotalLengthMax. */
const nameLengthMax = 255;

/**
 * Parses `[host[:port]/]repository[:tag][@digest]` by Docker's rules: the first component is a host when it holds a `.` or a
 * `:`, an upper-case letter, or is `localhost`; else the host is `docker.io`, where a single component lives under `library/`. With neither
 * tag nor digest the tag is `latest`.
 * @throws {FerryError} NAME_INVALID when the text names no image
 */
export function parseReference(text: string): Reference {
  const [named = '', digest, ...more] = text.split('@');
  const slash = named.indexOf('/');
  const first = slash < 0 ? '' : named.slice(0, slash);
  const hasHost = first === 'localhost' || /[.:A-Z]/.test(first);
  const host = hasHost ? first : 'docker.io';
  const rest = hasHost ? named.slice(slash + 1) : named;
  const colon = rest.lastIndexOf(':');
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  const repository = host === 'docker.io' && !path.includes('/') ? `library/${path}` : path;

  const wrong = [
    hostPattern.test(host) ? undefined : `the host "${host}" is none`,
    isRepository(path) ? undefined : `the repository "${path}" is not ${repositoryRule}`,
    tag === undefined || isTag(tag) ? undefined : `the tag "${tag}" is not ${tagRule}`,
    digest === undefined || isDigest(digest) ? undefined : `the digest "${digest}" is not sha256: and 64 digits`,
    more.length === 0 ? undefined : 'it has more than one "@"',
    host.length + 1 + repository.length <= nameLengthMax ? undefined : `it is longer than ${nameLengthMax} characters`,
  ].filter((part) => part !== undefined);
  if (wrong.length > 0) throw new FerryError('NAME_INVALID', `Cannot use "${text}" as an image: ${wrong.join('; ')}`);

  if (digest !== undefined && isDigest(digest)) {
    return { host, repository, digest, ...(tag === undefined ? {} : { tag }) };
  }
  return { host, repository, tag: tag ?? 'latest' };
}

/** Writes a reference so that {@link parseReference} reads the same one back. */
export function formatReference({ host, repository, tag, digest }: Reference): string {
  return `${host}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

const repositoryRule =
  'lower-case letters and digits with single ".", "_", "__" or "-" between, in components with "/"';
const tagRule = 'a letter, digit or "_" and up to 127 more of these, "." and "-"';

/** Says whether the text may name a repository. */
export function isRepository(text: string): boolean {
  return text.length <= nameLengthMax && repositoryPattern.test(text);
}

/** Says whether the text may be a tag. */
export function isTag(text: string): boolean {
  return tagPattern.test(text);
}

/**
 * Gives the repository as it is when it may be one.
 * @throws {FerryError} NAME_INVALID when it may not
 */
export function checkRepository(text: string): string {
  if (isRepository(text)) return text;
  throw new FerryError('NAME_INVALID', `Cannot use "${text}" as a repository: ${repositoryRule} were wanted`);
}

/**
 * Gives the tag as it is when it may be one.
 * @throws {FerryError} TAG_INVALID when it may not
 */
export function checkTag(text: string): string {
  if (isTag(text)) return text;
  throw new FerryError('TAG_INVALID', `Cannot use "${text}" as a tag: ${tagRule} was wanted`);
}
