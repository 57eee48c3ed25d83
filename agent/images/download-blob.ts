import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../../shared/clock.ts';
import { Digester } from '../../shared/digest.ts';
import { syncFolder } from '../../shared/durable-file.ts';
import { FerryError, isFerryError, systemCodeOf } from '../../shared/errors.ts';
import type { Descriptor } from '../../shared/oci/descriptor.ts';
import type { RegistrySource } from './registry-source.ts';

/** Where a blob comes from and goes to. */
export interface BlobDownload {
  readonly source: RegistrySource;
  readonly repository: string;
  readonly blob: Descriptor;
  /** Folder of unfinished downloads. */
  readonly partialFolder: string;
  /** Where it is to be when it is whole. */
  readonly path: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Is told of every piece, in bytes. */
  readonly onBytes: (bytes: number) => void;
}

/** Tries in a row that may bring nothing; one that brings bytes starts the count anew, so a link that drops all the time still gets there. */
const fruitlessTriesMax = 5;
/** First wait between two tries, in milliseconds; it doubles. */
const retryBaseMs = 500;
/** How much is written before what is there is made durable, in bytes: a power cut loses no more than that. */
const syncEveryBytes = 16 * 1024 * 1024;

/**
 * Gets a blob of a registry onto the disk. What was got is kept over cuts of the link, of the power and restarts, and the
 * rest asked for by range. It takes its place only when it is whole, has its digest, and is durable.
 * @throws {FerryError} DIGEST_MISMATCH when the registry gives other bytes than the digest names; they are thrown away
 * @throws {FerryError} DISK_FULL, IMAGE_NOT_FOUND, REGISTRY_REFUSED, REGISTRY_UNREACHABLE
 */
export async function downloadBlob(download: BlobDownload): Promise<void> {
  const { blob, partialFolder, clock, signal } = download;
  await mkdir(partialFolder, { recursive: true });
  const partial = join(partialFolder, blob.digest.replace(':', '-'));
  const digester = new Digester();
  let have = await digestFile(partial, digester);
  for (let fruitless = 0; have < blob.size;) {
    const before = have;
    try {
      have = await fetchRest(download, partial, digester, have);
    } catch (error) {
      have = await sizeOf(partial);
      signal.throwIfAborted();
      if (!isFerryError(error, 'REGISTRY_UNREACHABLE')) throw error;
      fruitless = have > before ? 1 : fruitless + 1;
      if (fruitless > fruitlessTriesMax) throw error;
      await clock.sleep(retryBaseMs * 2 ** (fruitless - 1), signal);
    }
  }
  const { digest, bytes } = digester.finish();
  if (digest !== blob.digest || bytes !== blob.size) {
    await rm(partial, { force: true });
    throw new FerryError(
      'DIGEST_MISMATCH',
      `Cannot take "${download.repository}" from ${download.source.host}: ${bytes} bytes with the digest "${digest}", ` +
        `${blob.size} with "${blob.digest}" were wanted`,
    );
  }
  await rename(partial, download.path);
  await syncFolder(dirname(download.path));
}

/** Adds what is missing to the file; gives how many bytes there are then. */
async function fetchRest(download: BlobDownload, partial: string, digester: Digester, have: number): Promise<number> {
  const { source, repository, blob, signal, onBytes } = download;
  const headers = have > 0 ? { range: `bytes=${have}-` } : {};
  const answer = await source.get(`${repository}/blobs/${blob.digest}`, { headers, signal });
  // A registry may answer a range with the whole: what is there already is read over.
  let skip = answer.statusCode === 206 ? 0 : have;
  let at = have;
  let unsynced = 0;
  await using file = await open(partial, 'a');
  try {
    for await (const piece of answer as AsyncIterable<Buffer>) {
      const fresh = piece.subarray(Math.min(skip, piece.length));
      skip -= piece.length - fresh.length;
      if (fresh.length === 0) continue;
      await file.appendFile(fresh);
      digester.update(fresh);
      at += fresh.length;
      unsynced += fresh.length;
      onBytes(fresh.length);
      if (at > blob.size) break;
      if (unsynced >= syncEveryBytes) {
        await file.sync();
        unsynced = 0;
      }
    }
  } catch (cause) {
    if (systemCodeOf(cause) === 'ENOSPC') {
      throw new FerryError('DISK_FULL', `Cannot store "${blob.digest}": no space is left on the device`, { cause });
    }
    throw new FerryError('REGISTRY_UNREACHABLE', `Cannot read from the registry ${source.host}: the answer was cut`, {
      cause,
    });
  } finally {
    answer.destroy();
  }
  await file.sync();
  if (at >= blob.size) return at;
  throw new FerryError(
    'REGISTRY_UNREACHABLE',
    `Cannot read from the registry ${source.host}: the answer was cut short`,
  );
}

/** Takes what is there of a file into the digest; gives its size. */
async function digestFile(path: string, digester: Digester): Promise<number> {
  const size = await sizeOf(path);
  if (size === 0) return 0;
  for await (const piece of createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>) {
    digester.update(piece);
  }
  return size;
}

async function sizeOf(path: string): Promise<number> {
  try {
    await using file = await open(path, 'r');
    return (await file.stat()).size;
  } catch {
    return 0;
  }
}
