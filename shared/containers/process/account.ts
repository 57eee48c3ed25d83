import { chown, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** A user and group by their numbers. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** The user that scoring images are made for, and that processes and data folders belong to where this program may choose. */
export const containerAccount: Account = { uid: 10_001, gid: 10_001 };

/** Says whether this program runs as root and so may act for other users. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Reads a user as an image or Docker writes it: numbers only, since names mean nothing outside of the image. */
export function parseAccount(user: string | undefined): Account | undefined {
  const match = /^(\d+)(?::(\d+))?$/.exec(user ?? '');
  if (match === null) return undefined;
  const uid = Number(match[1]);
  return { uid, gid: match[2] === undefined ? uid : Number(match[2]) };
}

/** Gives a folder and the files right in it to an account. */
export async function giveFolder(path: string, { uid, gid }: Account): Promise<void> {
  await chown(path, uid, gid);
  for (const entry of await readdir(path, { withFileTypes: true })) {
    // A link would hand over what it points at; a file may be gone meanwhile, as SQLite's come and go.
    if (entry.isFile()) await chown(join(path, entry.name), uid, gid).catch(() => undefined);
  }
}

/** Says whether every user may pass through all folders that lead to a path. */
export async function isOpenToAll(path: string): Promise<boolean> {
  for (let at = dirname(path); ; at = dirname(at)) {
    if (((await stat(at)).mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}
