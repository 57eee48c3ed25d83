import type { BlockBlobClient } from '@azure/storage-blob';
import { withDeadline } from '../../shared/deadline.ts';
import { storageError } from './storage-error.ts';
import type { UploadDestination } from './upload-destination.ts';

/** How long a blob may take to be stored, in milliseconds; a hub's signature holds an hour. */
const storeTimeoutMs = 30 * 60_000;

/** Settings of a storage client that stores collected rows: the next drain tries again anyway. */
export const storeOptions = { retryOptions: { maxTries: 2, retryDelayInMs: 500, tryTimeoutInMs: 120_000 } };

/**
 * Stores a blob, over one of the same name.
 * @throws {FerryError} STORAGE_REFUSED when storage will never take this one
 * @throws {FerryError} UNAUTHORIZED or STORAGE_UNREACHABLE when it takes none now
 */
export async function storeBlob(
  client: BlockBlobClient,
  blob: Parameters<UploadDestination['upload']>[0],
  signal: AbortSignal,
): Promise<void> {
  const { origin, pathname } = new URL(client.url);
  // The query may be a signature, which is never part of a message.
  const address = `${origin}${pathname}`;
  try {
    await withDeadline({ doing: `store ${address}`, timeoutMs: storeTimeoutMs, signal }, (abortSignal) =>
      client.uploadData(blob.content, {
        abortSignal,
        blobHTTPHeaders: { blobContentType: blob.contentType },
        metadata: blob.metadata,
      }),
    );
  } catch (error) {
    signal.throwIfAborted();
    throw storageError(error, address);
  }
}
