import type { Digest } from '../digest.ts';
import { FerryError } from '../errors.ts';
import { inParallel } from '../in-parallel.ts';
import type { Descriptor, Platform } from './descriptor.ts';
import type { ImageDestination, ImageSource } from './image-place.ts';
import { childrenOf, type ManifestDocument } from './manifest.ts';

/** How far a copy is, in bytes of blobs. What is left is `total` less the others. */
export interface CopyProgress {
  readonly totalBytes: number;
  /** Was there already. */
  readonly presentBytes: number;
  /** Was made available there from another repository, without moving. */
  readonly mountedBytes: number;
  readonly movedBytes: number;
}

/** What is copied, where from and where to. */
export interface CopyRequest {
  readonly from: { readonly place: ImageSource; readonly repository: string; readonly reference: string };
  readonly to: {
    readonly place: ImageDestination;
    readonly repository: string;
    /** Tags that are to point at it there. @default none: known there by its digest alone */
    readonly tags?: readonly string[];
  };
  /** Repositories of the destination that may hold a blob already. @default none */
  readonly mountFrom?: (blob: Descriptor) => readonly string[];
  /** Of an index, only the image for this platform. @default all of it */
  readonly platform?: Platform;
  /** Blobs on their way at once. @default 4 */
  readonly concurrency?: number;
  readonly onProgress?: (progress: CopyProgress) => void;
  readonly signal?: AbortSignal;
}

/** What a copy did. */
export interface CopyResult extends CopyProgress {
  readonly digest: Digest;
}

/** An index may list so many manifests, all levels together. */
const manifestsMax = 1000;

/**
 * Copies an image, an artifact or an index from one place to another: a push, a pull, an export. Moves only what is missing
 * there, and mounts what another repository there has. Idempotent; manifests come last, so what is half copied is not seen.
 * @throws {FerryError} IMAGE_NOT_FOUND when the source has no such image
 * @throws {FerryError} PLATFORM_UNSUPPORTED when the index has no image for the platform
 * @throws {FerryError} DIGEST_MISMATCH when a blob is not what its manifest says
 */
export async function copyImage(request: CopyRequest): Promise<CopyResult> {
  const signal = request.signal ?? new AbortController().signal;
  const documents = await collect(request, signal);
  const root = documents.at(-1);
  if (root === undefined) throw new Error('An image has a manifest');
  const { digest } = root.descriptor;
  const blobs = uniqueBlobs(documents);
  if (await isThere(request.to, digest, signal)) {
    const totalBytes = totalOf(blobs);
    return { digest, totalBytes, presentBytes: totalBytes, mountedBytes: 0, movedBytes: 0 };
  }
  const copy = new BlobCopy(request, blobs);
  await copy.run(request.concurrency ?? 4, signal);
  const { place, repository, tags = [] } = request.to;
  for (const document of documents) {
    const names = document === root && tags.length > 0 ? tags : [undefined];
    const { mediaType } = document.descriptor;
    for (const tag of names) await place.putManifest(repository, tag, { bytes: document.bytes, mediaType }, { signal });
  }
  return { digest, ...copy.progress };
}

/** Says whether all names stand for the image there already: no place takes a manifest before what it refers to. */
async function isThere({ place, repository, tags = [] }: CopyRequest['to'], digest: Digest, signal: AbortSignal) {
  for (const name of tags.length > 0 ? tags : [digest]) {
    if ((await place.resolve(repository, name, { signal })) !== digest) return false;
  }
  return true;
}

/** Reads all manifests that belong to the image, those that others refer to first. */
async function collect({ from, platform }: CopyRequest, signal: AbortSignal): Promise<readonly ManifestDocument[]> {
  const documents = new Map<Digest, ManifestDocument>();
  const read = async (reference: string): Promise<ManifestDocument> => {
    const document = await from.place.readManifest(from.repository, reference, { signal });
    if (document !== undefined) return document;
    throw new FerryError(
      'IMAGE_NOT_FOUND',
      `Cannot copy "${from.repository}" "${reference}": ${from.place.name} has none`,
    );
  };
  const add = async (document: ManifestDocument): Promise<void> => {
    for (const { digest } of childrenOf(document).manifests) {
      if (documents.size >= manifestsMax) {
        throw new FerryError(
          'IMAGE_INVALID',
          `Cannot copy "${from.repository}": it has over ${manifestsMax} manifests`,
        );
      }
      if (!documents.has(digest)) await add(await read(digest));
    }
    documents.set(document.descriptor.digest, document);
  };
  const root = await read(from.reference);
  const chosen = platform === undefined || root.kind === 'manifest' ? root : await read(choose(root, platform).digest);
  await add(chosen);
  return [...documents.values()];
}

function choose(document: ManifestDocument & { kind: 'index' }, wanted: Platform): Descriptor {
  const found = document.index.manifests.find(
    ({ platform }) =>
      platform?.os === wanted.os &&
      platform.architecture === wanted.architecture &&
      (wanted.variant === undefined || platform.variant === undefined || platform.variant === wanted.variant),
  );
  if (found !== undefined) return found;
  const has = document.index.manifests.map(({ platform }) => `${platform?.os}/${platform?.architecture}`).join(', ');
  const message = `Cannot use "${document.descriptor.digest}": it is for ${has}, ${wanted.os}/${wanted.architecture} was wanted`;
  throw new FerryError('PLATFORM_UNSUPPORTED', message);
}

function totalOf(blobs: readonly Descriptor[]): number {
  return blobs.reduce((sum, { size }) => sum + size, 0);
}

function uniqueBlobs(documents: readonly ManifestDocument[]): readonly Descriptor[] {
  const blobs = documents.flatMap((document) => childrenOf(document).blobs);
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}

/** The blobs of one copy, some of which are on their way at a time. */
class BlobCopy {
  readonly #request: CopyRequest;
  readonly #blobs: readonly Descriptor[];
  readonly #moved = new Map<Digest, number>();
  #present = 0;
  #mounted = 0;

  constructor(request: CopyRequest, blobs: readonly Descriptor[]) {
    this.#request = request;
    this.#blobs = blobs;
  }

  get progress(): CopyProgress {
    return {
      totalBytes: totalOf(this.#blobs),
      presentBytes: this.#present,
      mountedBytes: this.#mounted,
      movedBytes: [...this.#moved.values()].reduce((sum, bytes) => sum + bytes, 0),
    };
  }

  async run(atOnce: number, signal: AbortSignal): Promise<void> {
    this.#report();
    // The largest first, so that none is left to be waited for alone.
    const blobs = this.#blobs.toSorted((a, b) => b.size - a.size);
    await inParallel(blobs, { atOnce, signal }, async (blob, signal) => {
      await this.#copy(blob, signal);
      this.#report();
    });
  }

  async #copy(blob: Descriptor, signal: AbortSignal): Promise<void> {
    const { from, to, mountFrom } = this.#request;
    const options = { signal };
    if (await to.place.hasBlob(to.repository, blob.digest, options)) {
      this.#present += blob.size;
      return;
    }
    for (const repository of mountFrom?.(blob) ?? []) {
      if (await to.place.mountBlob(to.repository, { digest: blob.digest, from: repository }, options)) {
        this.#mounted += blob.size;
        return;
      }
    }
    const open = (start: number, end: number): AsyncIterable<Uint8Array> =>
      from.place.openBlob(from.repository, blob, { start, end }, options);
    const onProgress = (bytes: number): void => {
      this.#moved.set(blob.digest, bytes);
      this.#report();
    };
    await to.place.putBlob(to.repository, blob, open, { ...options, onProgress });
    this.#moved.set(blob.digest, blob.size);
  }

  #report(): void {
    this.#request.onProgress?.(this.progress);
  }
}
