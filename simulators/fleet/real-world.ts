import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '../../shared/log.ts';
import { openCertificates } from '../certificates.ts';
import { startHub } from '../hub/hub.ts';
import { type Registry, startRegistry } from '../registry/registry.ts';
import { startStorage } from '../world/azurite.ts';
import type { FleetOptions } from './options.ts';
import { countRows, type StoredRows } from './report.ts';

/** Opens a hub and the storage account that devices send files to, in a folder of their own. */
export async function openWorld({ s1Units }: FleetOptions) {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'ferry-fleet-'));
  // Also where the program ends because nobody waits for its report any more.
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  cleanup.defer(() => {
    process.off('exit', remove);
    remove();
  });
  const certificates = await openCertificates(join(folder, 'certificates'));
  const storage = cleanup.use(
    await startStorage({ folder: join(folder, 'storage'), container: 'modeldata', port: 0, certificates }),
  );
  const { blobEndpoint, accountName, accountKey } = storage;
  const hub = cleanup.use(
    await startHub({
      certificates,
      storage: { blobHost: blobEndpoint.replace('https://', ''), accountName, accountKey },
      log: createLogger('hub', { level: 'warn' }),
      ...(s1Units === undefined ? {} : { s1Units }),
    }),
  );
  const opened = cleanup.move();
  return { folder, hub, storage, certificates, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Opens the registry that real agents pull from, in the folder of their world. */
export function openRegistry(folder: string): Promise<Registry> {
  const log = createLogger('registry', { level: 'warn' });
  return startRegistry({ layoutDir: join(folder, 'registry'), port: 0, log });
}

/** Reads off the storage account which rows there are. */
export async function readStored(of: {
  readonly blobEndpoint: string;
  readonly accountName: string;
  readonly accountKey: string;
}): Promise<StoredRows> {
  const { ContainerClient, StorageSharedKeyCredential } = await import('@azure/storage-blob');
  const credential = new StorageSharedKeyCredential(of.accountName, of.accountKey);
  const container = new ContainerClient(`${of.blobEndpoint}/modeldata`, credential);
  const blobs = new Map<string, StoredBlob[]>();
  for await (const { name, metadata } of container.listBlobsFlat({ includeMetadata: true })) {
    const [deviceId = ''] = name.split('/');
    blobs.set(deviceId, [...(blobs.get(deviceId) ?? []), storedBlob(metadata)]);
  }
  return new Map([...blobs].map(([deviceId, all]) => [deviceId, countStored(all)]));
}

/** What a blob says of its rows. */
interface StoredBlob {
  /** Of the buffer that the rows are from; light devices have one alone. */
  readonly buffer: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Rows that are in it: less than the range where some were dropped. */
  readonly rows: number;
}

function storedBlob({ bufferid: buffer = '', ...given }: Record<string, string> = {}): StoredBlob {
  const [firstSeq, lastSeq] = [Number(given['firstseq'] ?? 0), Number(given['lastseq'] ?? 0)];
  return { buffer, firstSeq, lastSeq, rows: Number(given['rows'] ?? lastSeq - firstSeq + 1) };
}

/** Counts the rows of a device, each buffer by itself. */
function countStored(blobs: readonly StoredBlob[]): { readonly rows: number; readonly gaps: number } {
  const buffers = Map.groupBy(blobs, ({ buffer }) => buffer);
  const counted = [...buffers.values()].map((some) => {
    const { rows, gaps } = countRows(some.map(({ firstSeq, lastSeq }) => [firstSeq, lastSeq]));
    const dropped = some.reduce((all, blob) => all + blob.lastSeq - blob.firstSeq + 1 - blob.rows, 0);
    return { rows: rows - dropped, gaps };
  });
  return {
    rows: counted.reduce((all, { rows }) => all + rows, 0),
    gaps: counted.reduce((all, { gaps }) => all + gaps, 0),
  };
}
