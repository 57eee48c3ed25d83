import { z } from 'zod';
import { withDeadline } from '../../shared/deadline.ts';
import { storageError } from '../collect/storage-error.ts';

/** How long a blob may take to be stored, in milliseconds. */
const storeTimeoutMs = 20 * 60_000;

/** Signed address of a container that blobs may be stored in. The signature is in its query, which is never part of a message. */
export const sasUrl = z.url('the signed address of a container of a storage account');

/**
 * Stores a blob in the container that an address with a signature names.
 * @throws {FerryError} STORAGE_UNREACHABLE, STORAGE_REFUSED, TIMEOUT
 */
export async function storeBlob(sas: string, name: string, content: Buffer, signal: AbortSignal): Promise<void> {
  const { AnonymousCredential, ContainerClient } = await import('@azure/storage-blob');
  const blob = new ContainerClient(sas, new AnonymousCredential()).getBlockBlobClient(name);
  const address = blob.url.replace(/\?.*$/s, '');
  try {
    await withDeadline({ doing: `store ${address}`, timeoutMs: storeTimeoutMs, signal }, (abortSignal) =>
      blob.uploadData(content, { abortSignal }),
    );
  } catch (error) {
    throw storageError(error, address);
  }
}
