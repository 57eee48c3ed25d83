import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Digester } from '../../shared/digest.ts';
import { syncFolder } from '../../shared/durable-file.ts';
import { writeFailure } from '../../shared/oci/disk-full.ts';
import type { RegistryClient } from '../../shared/oci/registry-client.ts';
import { checkExpected, type Expected } from '../../shared/oci/verified.ts';
import type { BandwidthLimit } from './bandwidth-limit.ts';

/** Where a blob comes from and goes to. */
export interface BlobDownload {
  readonly registry: RegistryClient;
  readonly repository: string;
  readonly blob: Expected;
  /** Folder of unfinished downloads. */
  readonly partialFolder: string;
  /** Where it is to be when it is whole. */
  readonly path: string;
  readonly signal: AbortSignal;
  /** What all downloads together may take of the link. @default all of it */
  readonly limit?: BandwidthLimit;
  /** Is told of every piece, in bytes. */
  readonly onBytes: (bytes: number) => void;
}

/** How much is written before what is there is made durable, in bytes: a power cut loses no more than that. */
const syncEveryBytes = 16 * 1024 * 1024;

/**
 * Gets a blob of a registry onto the disk. What was got is kept over cuts of the link, of the power and restarts, and the
 * rest asked for by range. It takes its place only when it is whole, has its digest, and is durable.
 * @throws {FerryError} DIGEST_MISMATCH when the registry gives other bytes than the digest names; they are thrown away
 * @throws {FerryError} DISK_FULL, IMAGE_NOT_FOUND, REGISTRY_REFUSED, REGISTRY_UNREACHABLE
 */
export async function downloadBlob(download: BlobDownload): Promise<void> {
  const { blob, partialFolder, path, registry } = download;
  const partial = join(partialFolder, blob.digest.replace(':', '-'));
  try {
    await mkdir(partialFolder, { recursive: true });
    const digester = new Digester();
    await fetchRest(download, partial, { start: await digestFile(partial, digester), digester });
    try {
      checkExpected(digester.finish(), blob, `the registry "${registry.host}"`);
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    }
    await rename(partial, path);
    await syncFolder(dirname(path));
  } catch (error) {
    throw writeFailure(error, `store "${blob.digest}"`);
  }
}

/** Adds what is missing to the file and to the digest. */
async function fetchRest(
  { registry, repository, blob, signal, limit, onBytes }: BlobDownload,
  partial: string,
  { start, digester }: { readonly start: number; readonly digester: Digester },
): Promise<void> {
  await using file = await open(partial, 'a');
  let unsyncedBytes = 0;
  let at = start;
  try {
    if (start < blob.size) {
      for await (const piece of registry.readBlobFrom(repository, blob, { start, signal })) {
        await file.appendFile(piece);
        digester.update(piece);
        onBytes(piece.byteLength);
        at += piece.byteLength;
        unsyncedBytes += piece.byteLength;
        // More than was promised is wrong whatever comes next.
        if (at > blob.size) break;
        if (unsyncedBytes >= syncEveryBytes) {
          await file.datasync();
          unsyncedBytes = 0;
        }
        await limit?.take(piece.byteLength, signal);
      }
    }
  } finally {
    await file.datasync();
  }
}

/** Takes what is there of a file into the digest; gives its size in bytes. */
async function digestFile(path: string, digester: Digester): Promise<number> {
  const size = await stat(path).then(
    (status) => status.size,
    () => 0,
  );
  if (size === 0) return 0;
  for await (const piece of createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>) {
    digester.update(piece);
  }
  return size;
}
