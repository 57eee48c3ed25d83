import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, isDigest } from '../digest.ts';
import { systemCodeOf } from '../errors.ts';
import type { Descriptor } from './descriptor.ts';
import { childrenOf, parseManifest } from './manifest.ts';
import { isIndexMediaType, isManifestMediaType } from './media-types.ts';

/** What a collection removed. */
export interface Garbage {
  readonly blobs: number;
  readonly bytes: number;
}

/**
 * Gives every blob that can be reached from manifests, these included. What is no manifest of OCI or Docker reaches nothing, and a
 * manifest that is not there neither.
 */
export async function reachableFrom(
  manifests: readonly Pick<Descriptor, 'mediaType' | 'digest'>[],
  readBlob: (digest: Digest) => Promise<Uint8Array | undefined>,
): Promise<ReadonlySet<Digest>> {
  const reached = new Set<Digest>();
  const waiting = [...manifests];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { digest, mediaType } = next;
    if (reached.has(digest)) continue;
    reached.add(digest);
    if (!isIndexMediaType(mediaType) && !isManifestMediaType(mediaType)) continue;
    const bytes = await readBlob(digest);
    if (bytes === undefined) continue;
    const children = childrenOf(parseManifest(bytes, mediaType));
    for (const blob of children.blobs) reached.add(blob.digest);
    waiting.push(...children.manifests);
  }
  return reached;
}

/** Removes the blobs of a folder that are not to be kept and were not touched since a time; a young one may be about to be referred to. */
export async function removeUnreached(
  blobFolder: string,
  reached: ReadonlySet<Digest>,
  untouchedSinceMs: number,
): Promise<Garbage> {
  const garbage = { blobs: 0, bytes: 0 };
  for (const name of await readdir(blobFolder)) {
    const digest = `sha256:${name}`;
    if (!isDigest(digest) || reached.has(digest)) continue;
    const path = join(blobFolder, name);
    const status = await stat(path).catch((error: unknown) => {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (status === undefined || status.mtimeMs > untouchedSinceMs) continue;
    await rm(path, { force: true });
    garbage.blobs += 1;
    garbage.bytes += status.size;
  }
  return garbage;
}
