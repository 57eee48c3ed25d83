import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../shared/clock.ts';
import { isFerryError, messageOf } from '../../shared/errors.ts';
import { createLogger } from '../../shared/log.ts';
import { StorageUpload } from '../collect/storage-upload.ts';
import { drainBuffer } from '../collect/uploader.ts';
import type { UploadThreadData } from './upload-thread.ts';

/** How long the last rows get at the end; what is not sent by then stays in the buffer's file. */
const lastDrainMs = 7_000;

/** What the thread does: it sends all that is there at every interval, and once more when it is told to stop. */
export async function runUploadThread(): Promise<void> {
  if (parentPort === null) throw new Error('The thread that uploads was started as a process');
  const port = parentPort;
  const { databasePath, access, everyMs, logLevel } = workerData as UploadThreadData;
  const log = createLogger('scoring', { format: 'json' });
  log.level = logLevel;
  const destination = new StorageUpload(access);
  const stopping = new AbortController();
  port.once('message', () => stopping.abort());
  let told: string | undefined;
  const drain = async (signal: AbortSignal): Promise<boolean> => {
    try {
      const { rows, blobs, refused } = await drainBuffer({ databasePath, destination, seal: 'all', signal });
      if (rows > 0) log.info({ rows, blobs }, 'uploaded collected rows');
      for (const { name, reason } of refused) log.error({ blob: name, reason }, 'storage refused collected rows');
      told = undefined;
      return refused.length === 0;
    } catch (error) {
      const reason = messageOf(error);
      // While it lasts, it is told once.
      if (!stopping.signal.aborted && reason !== told) {
        log.error({ code: isFerryError(error) ? error.code : undefined, reason }, 'collected rows stay in the buffer');
      }
      told = reason;
      return false;
    }
  };
  while (!stopping.signal.aborted) {
    await systemClock.sleep(everyMs, stopping.signal).catch(() => undefined);
    if (!stopping.signal.aborted) await drain(stopping.signal);
  }
  port.postMessage(await drain(AbortSignal.timeout(lastDrainMs)));
  port.close();
}
