import type { Digest } from '../digest.ts';
import { isDigest } from '../digest.ts';
import type { Descriptor } from './descriptor.ts';
import type { ImageIndex } from './manifest.ts';
import { isRepository, isTag } from './reference.ts';

/** What an entry of `index.json` stands for: a tag of a repository, or a manifest of it that no tag points at. */
export type Entry = { readonly repository: string } & (
  | { readonly tag: string; readonly digest?: undefined }
  | { readonly tag?: undefined; readonly digest: Digest }
);

/** OCI image-spec 1.1, annotations.md: the name of a manifest within an image layout. */
const refName = 'org.opencontainers.image.ref.name';

/** Reads an entry's name, `<repository>:<tag>` or `<repository>@<digest>`; other tools' names stand for nothing here. */
export function entryOf(descriptor: Descriptor): Entry | undefined {
  const [, repository = '', separator, rest = ''] =
    /^(.+?)([:@])(.+)$/.exec(descriptor.annotations?.[refName] ?? '') ?? [];
  if (!isRepository(repository)) return undefined;
  if (separator === ':') return isTag(rest) ? { repository, tag: rest } : undefined;
  return isDigest(rest) ? { repository, digest: rest } : undefined;
}

/** Gives the entry that a tag, or a digest whether tagged or not, stands for in a repository. */
export function findEntry(index: ImageIndex, repository: string, tagOrDigest: string): Descriptor | undefined {
  return index.manifests.find((descriptor) => {
    const entry = entryOf(descriptor);
    if (entry?.repository !== repository) return false;
    return isDigest(tagOrDigest) ? descriptor.digest === tagOrDigest : entry.tag === tagOrDigest;
  });
}

/**
 * Gives the index with a manifest in a repository, under a tag if one is given. What the tag pointed at before stays, by its
 * digest: what is deployed by digest must be there until it is removed by name. The same index comes back when nothing changes.
 */
export function withManifest(index: ImageIndex, manifest: Descriptor, repository: string, tag?: string): ImageIndex {
  if (tag === undefined) {
    if (findEntry(index, repository, manifest.digest) !== undefined) return index;
    return { ...index, manifests: [...index.manifests, named(manifest, `${repository}@${manifest.digest}`)] };
  }
  if (findEntry(index, repository, tag)?.digest === manifest.digest) return index;
  const rest = withoutTag(index, repository, tag).manifests.filter((descriptor) => {
    const entry = entryOf(descriptor);
    return !(entry?.repository === repository && entry.digest === manifest.digest);
  });
  return { ...index, manifests: [...rest, named(manifest, `${repository}:${tag}`)] };
}

/** Gives the index without a tag; what it pointed at stays by its digest. */
export function withoutTag(index: ImageIndex, repository: string, tag: string): ImageIndex {
  const tagged = findEntry(index, repository, tag);
  if (tagged === undefined) return index;
  const rest = { ...index, manifests: index.manifests.filter((descriptor) => descriptor !== tagged) };
  return withManifest(rest, tagged, repository);
}

/** Gives the index without a manifest and all its tags in a repository. */
export function withoutManifest(index: ImageIndex, repository: string, digest: Digest): ImageIndex {
  const manifests = index.manifests.filter(
    (descriptor) => descriptor.digest !== digest || entryOf(descriptor)?.repository !== repository,
  );
  return manifests.length === index.manifests.length ? index : { ...index, manifests };
}

function named(descriptor: Descriptor, name: string): Descriptor {
  return { ...descriptor, annotations: { ...descriptor.annotations, [refName]: name } };
}
