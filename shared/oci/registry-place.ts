import type { ImageDestination, ImageSource } from './image-place.ts';
import type { UploadSessions } from './upload-sessions.ts';
import type { RegistryClient } from './registry-client.ts';

/**
 * Makes a registry a place that images are copied from and to.
 * @param sessions where it is kept how far large blobs are on their way there
 */
export function registryPlace(client: RegistryClient, sessions?: UploadSessions): ImageSource & ImageDestination {
  return {
    name: `the registry "${client.host}"`,
    readManifest: (repository, tagOrDigest, options) => client.getManifest(repository, tagOrDigest, options),
    openBlob: (repository, blob, { start, end }, options) =>
      start === 0 && end === blob.size
        ? client.readBlob(repository, blob, options)
        : first(end - start, client.readBlobFrom(repository, blob, { ...options, start })),
    resolve: async (repository, tagOrDigest, options) =>
      (await client.headManifest(repository, tagOrDigest, options))?.digest,
    hasBlob: async (repository, digest, options) => (await client.headBlob(repository, digest, options)) !== undefined,
    mountBlob: (repository, blob, options) => client.mountBlob(repository, blob, options),
    putBlob: (repository, blob, open, options) =>
      client.uploadBlob(repository, blob, { open }, { ...options, ...(sessions && { sessions }) }),
    putManifest: async (repository, tag, manifest, options) => {
      await client.putManifest(repository, tag, manifest, options);
    },
  };
}

async function* first(bytes: number, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  let left = bytes;
  for await (const piece of source) {
    yield piece.subarray(0, left);
    left -= piece.byteLength;
    if (left <= 0) return;
  }
}
