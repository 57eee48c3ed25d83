import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { findProgram } from '../shared/programs.ts';

/** What a run of `ferry` came to. */
export interface FerryRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The settings of {@link runFerry}. */
interface RunFerryOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs the command line as a user does, as a process of its own. */
export async function runFerry(args: readonly string[], options: RunFerryOptions): Promise<FerryRun> {
  const child = spawn(process.execPath, [findProgram('ferry').path, ...args], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = once(child, 'close') as Promise<[number | null]>;
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
  return { code, stdout, stderr };
}

/** Gives the document that a run with `--json` printed. @throws what it said, where it did not go well */
export function documentOf({ code, stdout, stderr }: FerryRun, args: readonly string[]): unknown {
  if (code !== 0) throw new Error(`ferry ${args.join(' ')} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as unknown;
}
