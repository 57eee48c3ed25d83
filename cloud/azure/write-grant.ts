import { BlobServiceClient, ContainerSASPermissions, SASProtocol } from '@azure/storage-blob';
import { withDeadline } from '../../shared/deadline.ts';
import { FerryError } from '../../shared/errors.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { storageFailure } from './storage-failure.ts';

/** Leave to write collected rows, and nothing else. */
export interface WriteGrant {
  /** The container's address, signed: a secret. */
  readonly url: string;
  /** ISO 8601, UTC. */
  readonly expiresAt: string;
}

/** A signature begins this long before now: the storage's clock may be behind, in milliseconds. */
const clockSkewMs = 5 * 60_000;
const timeoutMs = 30_000;

/**
 * Signs the workspace's container of collected rows for creating blobs and writing them again: whoever holds the signature cannot read,
 * list or delete. Makes the container where there is none, which the holder could not.
 * @throws {FerryError} ENDPOINT_MISSING when the workspace has no storage
 * @throws {FerryError} STORAGE_UNREACHABLE or STORAGE_REFUSED
 */
export async function grantWriting(
  workspace: Workspace,
  options: { readonly days: number; readonly nowMs: number; readonly signal: AbortSignal },
): Promise<WriteGrant> {
  const { storageConnectionString } = await workspace.secrets();
  const { storage } = workspace.config.endpoints;
  if (storage === undefined || storageConnectionString === undefined) {
    throw new FerryError('ENDPOINT_MISSING', 'Cannot grant writing: the workspace has no storage account', {
      next: 'Start the local one with `ferry up`.',
    });
  }
  const { days, nowMs, signal } = options;
  const container = BlobServiceClient.fromConnectionString(storageConnectionString).getContainerClient(
    storage.container,
  );
  const { origin, pathname, protocol } = new URL(container.url);
  const doing = `make the container "${storage.container}"`;
  try {
    await withDeadline({ doing, timeoutMs, signal }, (abortSignal) => container.createIfNotExists({ abortSignal }));
  } catch (error) {
    signal.throwIfAborted();
    throw storageFailure(error, { doing, address: `${origin}${pathname}` });
  }
  const expiresOn = new Date(nowMs + days * 86_400_000);
  const url = await container.generateSasUrl({
    // Writing again is what a second try does.
    permissions: ContainerSASPermissions.parse('cw'),
    startsOn: new Date(nowMs - clockSkewMs),
    expiresOn,
    ...(protocol === 'https:' ? { protocol: SASProtocol.Https } : {}),
  });
  return { url, expiresAt: expiresOn.toISOString() };
}
