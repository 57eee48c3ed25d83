import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Name of the file that tells which process the host is. */
export const markFile = 'host.mark';

/** Longest path of a socket file that every system takes, in bytes (unix(7): 108 on Linux, 104 on macOS, with its end). */
const socketPathBytesMax = 100;

/** Gives where a host answers: in its folder, or where that is too long a path, among the temporary files. */
export function socketPath(folder: string): string {
  const path = join(folder, 'host.sock');
  return Buffer.byteLength(path) <= socketPathBytesMax
    ? path
    : join(tmpdir(), `modelferry-${engineOwner(folder)}.sock`);
}

/** Tells the containers of a service from all others of the same engine. */
export function engineOwner(folder: string): string {
  return createHash('sha256').update(folder).digest('hex').slice(0, 16);
}
