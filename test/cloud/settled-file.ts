import { writeFile } from 'node:fs/promises';
import { isSettled, lookAt } from '../../cloud/models/file-look.ts';
import { until } from '../until.ts';

/** Waits until a file can be told by its look from what is written to it later. */
export async function settled(path: string): Promise<void> {
  const look = await lookAt(path);
  await until(() => look && isSettled(look, Date.now()), { what: `"${path}" to be older` });
}

/** Writes a file as it would lie there when a command starts. */
export async function writeSettled(path: string, content: Uint8Array | string): Promise<void> {
  await writeFile(path, content);
  await settled(path);
}
