import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { z } from 'zod';

/** A number of nanoseconds or an inode, which JSON's numbers do not hold exactly. */
const integerSchema = z.string().regex(/^-?\d+$/);

/** How a file looked; one that was written or replaced since differs in one of these. */
export const fileLookSchema = z.strictObject({
  path: z.string(),
  bytes: z.int().nonnegative(),
  /** When it was written, unless its writer says otherwise. */
  changedNs: integerSchema,
  /** When anything of it was changed, which only the system says; a link that was made to it counts too. */
  statusNs: integerSchema,
  inode: integerSchema,
});

export type FileLook = z.infer<typeof fileLookSchema>;

/** Linux stamps a file with the time of its latest tick: as long before the change as a tick takes (CONFIG_HZ=100), in milliseconds. */
const tickMs = 10;

/** Looks at a file, without reading it; undefined where it cannot be looked at. */
export async function lookAt(path: string): Promise<FileLook | undefined> {
  const status = await stat(path, { bigint: true }).catch(() => undefined);
  return status && lookOf(path, status);
}

/** Gives the look of a file by its status. */
export function lookOf(path: string, { size, mtimeNs, ctimeNs, ino }: BigIntStats): FileLook {
  return {
    path,
    bytes: Number(size),
    changedNs: String(mtimeNs),
    statusNs: String(ctimeNs),
    inode: String(ino),
  };
}

/**
 * Says whether a file can be told by its look from what is written to it later. Where reading it began too soon after it was changed, or
 * before, what was read may be the file as it was before, and look the same.
 */
export function isSettled({ changedNs, statusNs }: FileLook, readSinceMs: number): boolean {
  const settledNs = BigInt(readSinceMs - tickMs) * 1_000_000n;
  return BigInt(changedNs) < settledNs && BigInt(statusNs) < settledNs;
}
