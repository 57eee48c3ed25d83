import { join } from 'node:path';
import { BlobServiceClient, BlockBlobClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { CollectBuffer } from '../../../agent/collect/buffer.ts';
import { openBuffer } from '../../../agent/collect/buffer-file.ts';
import { Collector } from '../../../agent/collect/collector.ts';
import { openFile } from '../../../agent/collect/formats/open-file.ts';
import { requestsIn } from '../../../agent/collect/row-block.ts';
import { storeBlob, storeOptions } from '../../../agent/collect/store-blob.ts';
import type { UploadDestination } from '../../../agent/collect/upload-destination.ts';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { trustAlso } from '../../../shared/tls-trust.ts';
import { openAzurite } from '../../conformance/azurite-rig.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import type { Measure } from '../measure.ts';
import { rowFloats, scoredRequests } from './rows.ts';

const rows = 30_000;
const blobRows = 10_000;
const features = [{ name: 'x', type: 'float32' as const, width: rowFloats }];
const stream = { workspace: 's/r/w', service: 'digits', model: 'm', version: 1, designation: 'inputs' } as const;

/** Rows from the buffer into Azurite, beside the same files made of the same rows in memory and sent the same way. */
export async function drainMeasure(): Promise<{ readonly measure: Measure } & AsyncDisposable> {
  await using cleanup = new AsyncDisposableStack();
  const azurite = cleanup.use(await openAzurite());
  trustAlso(azurite.caFile);
  const { blobHost, accountName, accountKey } = azurite.account;
  const credential = new StorageSharedKeyCredential(accountName, accountKey);
  const container = new BlobServiceClient(`https://${blobHost}`, credential).getContainerClient('modeldata');
  await container.create();
  const destination: UploadDestination = {
    upload: async (blob, signal) => {
      const address = `${container.url}/${blob.name.split('/').map(encodeURIComponent).join('/')}`;
      await storeBlob(new BlockBlobClient(address, credential, storeOptions), blob, signal);
    },
  };
  const disposal = cleanup.move();
  return {
    measure: {
      figure: 'drain rows of 64 floats to Azurite, as CSV',
      unit: 'rows/s',
      sample: () => drainFromBuffer(destination),
      reference: { name: 'the same from memory', sample: () => sendFromMemory(destination) },
      bar: { atLeast: 0.5 },
    },
    [Symbol.asyncDispose]: async () => await disposal.disposeAsync(),
  };
}

async function drainFromBuffer(destination: UploadDestination): Promise<number> {
  await using folder = await temporaryFolder();
  const databasePath = join(folder.path, 'collect.db');
  const buffer = new CollectBuffer(openBuffer(databasePath), { quota: { bytesMax: 1e9, policy: 'reject-new' } });
  for (const packed of packedBlocks()) {
    const hour = Math.floor(Date.now() / 3_600_000);
    buffer.append([{ stream, features, hour, rows: packed.rows, packed: packed.bytes }], []);
  }
  buffer.close();
  const startMs = performance.now();
  const signal = AbortSignal.timeout(120_000);
  const drained = await drainBuffer({ databasePath, destination, seal: 'all', signal });
  if (drained.rows !== rows) throw new Error(`${drained.rows} rows were drained, ${rows} were wanted`);
  return (rows / (performance.now() - startMs)) * 1000;
}

async function sendFromMemory(destination: UploadDestination): Promise<number> {
  const blocks = packedBlocks();
  const signal = AbortSignal.timeout(120_000);
  const startMs = performance.now();
  for (let from = 0, blob = 0; from < blocks.length; blob += 1) {
    const name = `memory/${startMs}-${blob}.csv`;
    const file = await openFile('csv', { stream, features, folder: 'day', name });
    for (let held = 0; held < blobRows && from < blocks.length; from += 1) {
      for (const request of requestsIn(blocks[from]?.bytes ?? Buffer.alloc(0), features)) file.append(request);
      held += blocks[from]?.rows ?? 0;
    }
    await destination.upload({ name, content: file.finish(), contentType: 'text/csv', metadata: {} }, signal);
  }
  return (rows / (performance.now() - startMs)) * 1000;
}

/** The rows as the collector hands them over. */
function packedBlocks(): { readonly rows: number; readonly bytes: Uint8Array }[] {
  const packed: { readonly rows: number; readonly bytes: Uint8Array }[] = [];
  const collector = new Collector({
    channel: {
      post: ({ blocks }) => packed.push(...blocks.map((block) => ({ rows: block.rows, bytes: block.packed }))),
      onReceipt: () => undefined,
    },
    workspace: stream.workspace,
    service: stream.service,
    pendingBytesMax: 1e9,
  });
  for (const scored of scoredRequests(rows)) collector.collect(scored);
  collector.flush();
  return packed;
}
