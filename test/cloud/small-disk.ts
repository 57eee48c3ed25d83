import { execFileSync } from 'node:child_process';
import { temporaryFolder } from '../temporary-folder.ts';

/** Makes a folder on a disk of so many bytes (a tmpfs), which only root on Linux can do: see {@link canMount}. */
export async function smallDisk(bytes: number): Promise<{ readonly path: string } & AsyncDisposable> {
  const folder = await temporaryFolder();
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder.path]);
  return {
    path: folder.path,
    [Symbol.asyncDispose]: async () => {
      execFileSync('umount', [folder.path]);
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Whether this process may mount; tests that need a small disk skip, and say so, where it may not. */
export const canMount: boolean = await tryMount();

async function tryMount(): Promise<boolean> {
  try {
    await using _disk = await smallDisk(65_536);
    return true;
  } catch {
    return false;
  }
}
