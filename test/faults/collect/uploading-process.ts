import { setTimeout as sleep } from 'node:timers/promises';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { FerryError } from '../../../shared/errors.ts';

// An agent without the hub: drains a buffer again and again into a storage that may be gone.
const [databasePath = '', storage = ''] = process.argv.slice(2);

for (;;) {
  await drainBuffer({
    databasePath,
    seal: 'all',
    signal: AbortSignal.timeout(60_000),
    destination: {
      upload: async ({ name, content, metadata }) => {
        const body = JSON.stringify({ name, metadata, text: Buffer.from(content).toString() });
        const response = await fetch(`${storage}/${encodeURIComponent(name)}`, { method: 'PUT', body }).catch(() => {
          throw new FerryError('STORAGE_UNREACHABLE', 'Cannot store: the storage is gone');
        });
        if (response.status !== 201) throw new FerryError('STORAGE_REFUSED', `Cannot store: ${response.status}`);
      },
    },
  }).catch((error: unknown) => {
    if (!(error instanceof FerryError && error.code === 'STORAGE_UNREACHABLE')) throw error;
  });
  await sleep(1);
}
