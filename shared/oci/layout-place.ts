import type { Digest } from '../digest.ts';
import type { ImageDestination, ImageSource } from './image-place.ts';
import type { LayoutStore } from './layout-store.ts';

/** Makes an image layout on disk a place that images are copied from and to. */
export function layoutPlace(store: LayoutStore): ImageSource & ImageDestination {
  const name = `the layout "${store.folder}"`;
  return {
    name,
    readManifest: (repository, tagOrDigest) => store.readManifest(repository, tagOrDigest),
    openBlob: (_repository, blob, range) => read(store, blob.digest, range),
    resolve: async (repository, tagOrDigest) => (await store.resolve(repository, tagOrDigest))?.digest,
    hasBlob: (_repository, digest) => store.hasBlob(digest),
    // All repositories of a layout share their blobs, so there is never anything to mount.
    mountBlob: async () => false,
    putBlob: async (_repository, blob, open, { signal, onProgress }) => {
      const source = (start: number): AsyncIterable<Uint8Array> => report(open(start, blob.size), start, onProgress);
      await store.putBlobResumably(source, blob, signal);
    },
    putManifest: async (repository, tag, { bytes, mediaType }) => {
      await store.putManifest(repository, tag, bytes, mediaType);
    },
  };
}

async function* read(
  store: LayoutStore,
  digest: Digest,
  range: { readonly start: number; readonly end: number },
): AsyncGenerator<Uint8Array, void, void> {
  if (range.start < range.end) yield* await store.openBlob(digest, range);
}

async function* report(
  source: AsyncIterable<Uint8Array>,
  start: number,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, void> {
  let bytes = start;
  for await (const piece of source) {
    yield piece;
    bytes += piece.byteLength;
    onProgress(bytes);
  }
}
