import { readFile } from 'node:fs/promises';
import { AnonymousCredential, type BlockBlobClient, ContainerClient } from '@azure/storage-blob';
import { FerryError, messageOf } from '../../shared/errors.ts';
import { storeBlob, storeOptions } from './store-blob.ts';
import type { UploadDestination } from './upload-destination.ts';

/** What a service in the cloud uploads with. */
export type StorageAccess =
  /** A file with the address of the container, signed for writing; read anew for each blob, so that it can be renewed at any time. */
  | { readonly sasFile: string }
  /** The address of the container, and the identity that the service runs under; with several, the client id of the one. */
  | { readonly containerUrl: string; readonly clientId: string | undefined };

/** Sends blobs to a storage account with a write-only signature or a managed identity. */
export class StorageUpload implements UploadDestination {
  readonly #access: StorageAccess;
  #container: ContainerClient | undefined;

  constructor(access: StorageAccess) {
    this.#access = access;
  }

  /**
   * Stores a blob, over one of the same name.
   * @throws {FerryError} FILE_UNREADABLE when there is no signature where one should be
   * @throws {FerryError} what `storeBlob()` throws
   */
  async upload(blob: Parameters<UploadDestination['upload']>[0], signal: AbortSignal): Promise<void> {
    await storeBlob(await this.#client(blob.name), blob, signal);
  }

  async #client(name: string): Promise<BlockBlobClient> {
    const access = this.#access;
    if ('sasFile' in access) return (await signedContainer(access.sasFile)).getBlockBlobClient(name);
    this.#container ??= await identifiedContainer(access);
    return this.#container.getBlockBlobClient(name);
  }
}

async function signedContainer(file: string): Promise<ContainerClient> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new FerryError('FILE_UNREADABLE', `Cannot read the storage signature "${file}": ${messageOf(cause)}`);
  });
  const url = URL.parse(text.trim());
  if (url === null || !/^https?:$/.test(url.protocol) || !url.searchParams.has('sig')) {
    // The text itself is a secret.
    throw new FerryError(
      'FILE_UNREADABLE',
      `Cannot use the storage signature "${file}": it holds none, https://<account>/<container>?…&sig=… was wanted`,
    );
  }
  return new ContainerClient(url.href, new AnonymousCredential(), storeOptions);
}

async function identifiedContainer(access: {
  readonly containerUrl: string;
  readonly clientId: string | undefined;
}): Promise<ContainerClient> {
  const { ManagedIdentityCredential } = await import('@azure/identity');
  const { containerUrl, clientId } = access;
  const identity = new ManagedIdentityCredential({
    ...(clientId === undefined ? {} : { clientId }),
    retryOptions: { maxRetries: 2 },
  });
  const getToken: typeof identity.getToken = async (scopes, options) => {
    try {
      return await identity.getToken(scopes, options);
    } catch (error) {
      // A status of the identity's endpoint is none of the storage's, which would speak of the blob.
      throw new FerryError('STORAGE_DENIED', `Cannot store in ${containerUrl}: the managed identity gives no token`, {
        cause: new Error(messageOf(error).slice(0, 500)),
      });
    }
  };
  return new ContainerClient(containerUrl, { getToken }, storeOptions);
}
