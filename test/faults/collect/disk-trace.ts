import { execFile, execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { temporaryFolder } from '../../temporary-folder.ts';

/** What a program did to the files of a folder, and what it said, in the order in which the kernel saw it. */
export type DiskEvent =
  | { readonly kind: 'create'; readonly path: string }
  | { readonly kind: 'unlink'; readonly path: string }
  | { readonly kind: 'write'; readonly path: string; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly path: string; readonly length: number }
  /** A file's or the folder's changes are on the disk. */
  | { readonly kind: 'sync'; readonly path: string }
  | { readonly kind: 'said'; readonly text: string };

/** Whether this machine can trace: Debian's `strace`, and a kernel that lets it. */
export const canTrace: boolean = tryTrace();

/** System calls that change files, or open them. Any other that did would show as a difference at the end of a replay. */
const calls = 'openat,pwrite64,write,writev,pwritev,fdatasync,fsync,ftruncate,rename,unlink';
/** Longer than any write of the programs that are traced. */
const bytesMax = 4_000_000;

/** Runs a program of Node to its end, and gives what it did to the files of a folder. */
export async function traceDisk(folder: string, args: readonly string[]): Promise<readonly DiskEvent[]> {
  await using log = await temporaryFolder();
  const logFile = join(log.path, 'strace');
  await promisify(execFile)(
    'strace',
    ['-f', '--seccomp-bpf', '-qq', '-y', '-xx', '-s', String(bytesMax), '-e', `trace=${calls}`]
      .concat(['-e', 'signal=none', '-o', logFile, process.execPath])
      .concat(args),
    { timeout: 120_000, maxBuffer: 64 * 1024 * 1024 },
  );
  const text = await readFile(logFile, 'latin1');
  return joinedLines(text).flatMap((line) => eventOf(line, folder) ?? []);
}

function tryTrace(): boolean {
  try {
    execFileSync('strace', ['-f', '--seccomp-bpf', '-qq', '-o', '/dev/null', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Puts calls together that another thread interrupted; a call counts where it ended. */
function joinedLines(text: string): string[] {
  const unfinished = new Map<string, string>();
  return text.split('\n').flatMap((line) => {
    const [, thread = '', call = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const begun = /^(.*) <unfinished \.\.\.>$/.exec(call);
    if (begun !== null) {
      unfinished.set(thread, begun[1] ?? '');
      return [];
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(call);
    return resumed === null ? [call] : [`${unfinished.get(thread) ?? ''}${resumed[1] ?? ''}`];
  });
}

function eventOf(call: string, folder: string): DiskEvent | undefined {
  const [, name = '', given = '', result = ''] = /^(\w+)\((.*)\) += (-?\d+)/.exec(call) ?? [];
  if (name === '' || result.startsWith('-')) return undefined;
  const path = /^\d+<([^>]*)>/.exec(given)?.[1] ?? /"([^"]*)"/.exec(given)?.[1];
  const file = unescaped(path ?? '').toString();
  if (name === 'write' && given.startsWith('1<')) return { kind: 'said', text: dataIn(given).toString() };
  if (file !== folder && !file.startsWith(`${folder}/`)) return undefined;
  // Shared memory of SQLite: it does not outlive a crash, and is made again.
  if (file.endsWith('-shm')) return undefined;
  switch (name) {
    case 'openat':
      return given.includes('O_CREAT') ? { kind: 'create', path: file } : undefined;
    case 'unlink':
      return { kind: 'unlink', path: file };
    case 'fsync':
    case 'fdatasync':
      return { kind: 'sync', path: file };
    case 'ftruncate':
      return { kind: 'truncate', path: file, length: lastNumber(given) };
    case 'pwrite64':
      return { kind: 'write', path: file, at: lastNumber(given), bytes: dataIn(given) };
    default:
      throw new Error(`The trace has a call that is not replayed: ${call.slice(0, 200)}`);
  }
}

function dataIn(given: string): Buffer {
  return unescaped(/"([^"]*)"/.exec(given)?.[1] ?? '');
}

function lastNumber(given: string): number {
  return Number(/(\d+)$/.exec(given)?.[1]);
}

/** strace writes every byte as `\x..`. */
function unescaped(text: string): Buffer {
  return Buffer.from(text.replaceAll(String.raw`\x`, ''), 'hex');
}
