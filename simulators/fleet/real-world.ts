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
  const ranges = new Map<string, (readonly [number, number])[]>();
  for await (const { name } of container.listBlobsFlat()) {
    const [deviceId = ''] = name.split('/');
    ranges.set(deviceId, [...(ranges.get(deviceId) ?? []), rangeInName(name)]);
  }
  return new Map([...ranges].map(([deviceId, all]) => [deviceId, countRows(all)]));
}

/** Gives the first and last row of a blob, as its name says. */
function rangeInName(name: string): readonly [number, number] {
  const [, first = '0', last = '0'] = /(\d+)-(\d+)\.jsonl$/.exec(name) ?? [];
  return [Number(first), Number(last)];
}
