import { createHash } from 'node:crypto';
import type { BlockBlobClient } from '@azure/storage-blob';
import type { UploadDestination } from '../collect/upload-destination.ts';

type Blob = Parameters<UploadDestination['upload']>[0];

/** A larger blob goes in blocks of this size, so that an upload that is cut goes on where it was. */
const blockBytes = 1024 * 1024;

/** What an address with a signature in it leads to. */
export interface SignedAddress {
  /** Without the signature, for messages. */
  readonly address: string;
  /** The signature, as a query with its question mark. */
  readonly sasToken: string;
}

/**
 * Stores a blob, over one of the same name. Sent again after a cut it sends only the blocks that are not there; a blob that storage
 * will not have replaced and that is this very one counts as stored.
 * @throws what the storage SDK throws
 */
export async function storeBlob({ address, sasToken }: SignedAddress, blob: Blob, signal: AbortSignal): Promise<void> {
  const { AnonymousCredential, BlockBlobClient } = await import('@azure/storage-blob');
  const client = new BlockBlobClient(`${address}${sasToken}`, new AnonymousCredential(), {
    // The next drain tries again anyway.
    retryOptions: { maxTries: 2, retryDelayInMs: 500 },
  });
  try {
    if (blob.content.byteLength <= blockBytes) {
      await client.upload(blob.content, blob.content.byteLength, { abortSignal: signal, ...propertiesOf(blob) });
    } else await storeBlocks(client, blob, signal);
  } catch (error) {
    if (!(isConflict(error) && (await isStored(client, blob, signal)))) throw error;
  }
}

/** Sends the blocks that storage has not got, then makes the blob of all of them. */
async function storeBlocks(client: BlockBlobClient, blob: Blob, signal: AbortSignal): Promise<void> {
  const blocks = blocksOf(blob.content);
  const there = await uncommittedBlocks(client, signal);
  for (const { id, content } of blocks) {
    if (there.has(id)) continue;
    await client.stageBlock(id, content, content.byteLength, { abortSignal: signal });
  }
  await client.commitBlockList(
    blocks.map(({ id }) => id),
    { abortSignal: signal, ...propertiesOf(blob) },
  );
}

/** Cuts a blob into blocks whose ids follow from their place and content, so that a block under an id is never another one. */
function blocksOf(content: Uint8Array): { readonly id: string; readonly content: Uint8Array }[] {
  const count = Math.ceil(content.byteLength / blockBytes);
  return Array.from({ length: count }, (_, index) => {
    const block = content.subarray(index * blockBytes, (index + 1) * blockBytes);
    const digest = createHash('sha256').update(block).digest('hex').slice(0, 32);
    return { id: Buffer.from(`${String(index).padStart(6, '0')}-${digest}`).toString('base64'), content: block };
  });
}

async function uncommittedBlocks(client: BlockBlobClient, signal: AbortSignal): Promise<ReadonlySet<string>> {
  try {
    const { uncommittedBlocks: blocks = [] } = await client.getBlockList('uncommitted', { abortSignal: signal });
    return new Set(blocks.map(({ name }) => name));
  } catch {
    // A new blob has none, and a signature that only writes may not ask: then all are sent.
    return new Set();
  }
}

/** Says whether the blob is there already with the same content; where blobs may not be replaced, that is all that is wanted. */
async function isStored(client: BlockBlobClient, blob: Blob, signal: AbortSignal): Promise<boolean> {
  const digest = blob.metadata['sha256'];
  if (digest === undefined) return false;
  const found = await client.getProperties({ abortSignal: signal }).catch(() => undefined);
  return found?.metadata?.['sha256'] === digest && found.contentLength === blob.content.byteLength;
}

function propertiesOf({ contentType, metadata }: Blob): {
  readonly blobHTTPHeaders: { readonly blobContentType: string };
  readonly metadata: Record<string, string>;
} {
  return { blobHTTPHeaders: { blobContentType: contentType }, metadata };
}

/** 409 and 412: the blob may not be replaced, or is held by a lease. */
function isConflict(error: unknown): boolean {
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
  return status === 409 || status === 412;
}
