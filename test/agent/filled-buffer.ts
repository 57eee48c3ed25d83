import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CollectBuffer } from '../../agent/collect/buffer.ts';
import { bufferFileName, openBuffer } from '../../agent/collect/buffer-file.ts';
import type { Rig } from './rig.ts';

/** What the rows of {@link fillBuffer} are of. */
export const collectedStream = {
  workspace: 'sub/rg/ws',
  service: 'digits',
  model: 'digits.v2',
  version: 3,
  designation: 'inputs',
} as const;

/** Makes the buffer of a module `digits` that is not there any more, and gives its path. @param count.dropped @default 0 */
export async function fillBuffer(
  rig: Rig,
  { rows, dropped = 0 }: { readonly rows: number; readonly dropped?: number },
): Promise<string> {
  const folder = rig.dataFolder('digits');
  await mkdir(folder, { recursive: true });
  const databasePath = join(folder, bufferFileName);
  const buffer = new CollectBuffer(openBuffer(databasePath), { quota: { bytesMax: 1e9, policy: 'reject-new' } });
  // A request of that many rows without a column: its header alone.
  const packed = Buffer.alloc(16);
  packed.writeUInt32LE(rows);
  const drops = dropped === 0 ? [] : [{ stream: collectedStream, reason: 'overload' as const, rows: dropped }];
  buffer.append([{ stream: collectedStream, features: [], hour: 490_000, rows, packed }], drops);
  buffer.close();
  return databasePath;
}
