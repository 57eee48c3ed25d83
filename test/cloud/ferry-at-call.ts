import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findProgram } from '../../shared/programs.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const run = promisify(execFile);

/** System calls by which a command changes what is on the disk, or tells a registry something. */
const calls = 'mkdir,pwrite64,writev,sendto,fdatasync,fsync,ftruncate,rename,unlink,utimensat';
const deadlineMs = 120_000;

/** The n-th time that a thread of a command makes a system call. */
export interface CallPoint {
  readonly call: string;
  /** Counted from 1. */
  readonly nth: number;
}

/** Runs `ferry` to its end, and gives every point at which it can be killed. */
export async function callPoints(args: readonly string[], cwd: string): Promise<readonly CallPoint[]> {
  await using log = await temporaryFolder();
  const file = join(log.path, 'strace');
  await run(...traced(['-e', `trace=${calls}`, '-o', file], args), { cwd, timeout: deadlineMs, env: oneWorker() });
  const byThread = new Map<string, number>();
  for (const line of (await readFile(file, 'latin1')).split('\n')) {
    // What another thread interrupted is told once more where it goes on.
    const [, thread, call] = /^(\d+) +(\w+)\(/.exec(line) ?? [];
    if (thread !== undefined) byThread.set(`${thread} ${call}`, (byThread.get(`${thread} ${call}`) ?? 0) + 1);
  }
  const most = new Map<string, number>();
  for (const [key, count] of byThread) {
    const call = key.split(' ')[1] ?? '';
    most.set(call, Math.max(most.get(call) ?? 0, count));
  }
  return [...most].flatMap(([call, count]) => Array.from({ length: count }, (_, at) => ({ call, nth: at + 1 })));
}

/** Runs `ferry` and kills it with SIGKILL as it makes a call; gives whether it was killed. What it had started may be what dies. */
export async function killedAtCall(args: readonly string[], cwd: string, { call, nth }: CallPoint): Promise<boolean> {
  const options = ['-e', `trace=${call}`, '-e', `inject=${call}:signal=SIGKILL:when=${nth}`, '-o', '/dev/null'];
  try {
    await run(...traced(options, args), { cwd, timeout: deadlineMs, env: oneWorker() });
    return false;
  } catch (error) {
    if ((error as { signal?: string }).signal === 'SIGTERM') throw error;
    return true;
  }
}

function traced(options: readonly string[], args: readonly string[]): [string, string[]] {
  const ferry = [process.execPath, findProgram('ferry').path, ...args];
  return ['strace', ['-f', '-qq', '-e', 'signal=none', ...options, ...ferry]];
}

/** With one thread for files, calls come in the same order each time; what Node keeps of compiled code would be written by the first run alone. */
function oneWorker(): NodeJS.ProcessEnv {
  return { ...process.env, UV_THREADPOOL_SIZE: '1', NODE_DISABLE_COMPILE_CACHE: '1' };
}
