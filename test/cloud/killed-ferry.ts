import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from '../../shared/programs.ts';

/** Runs `ferry` and kills it with SIGKILL after a time, if it has not ended by then. The moment is the point here, whatever it hits. */
export async function killedFerry(
  args: readonly string[],
  options: { readonly cwd: string; readonly delayMs: number },
): Promise<void> {
  const child = spawn(process.execPath, [findProgram('ferry').path, ...args], { cwd: options.cwd, stdio: 'ignore' });
  const exited = once(child, 'exit');
  await Promise.race([exited, sleep(options.delayMs, undefined, { ref: false })]);
  child.kill('SIGKILL');
  await exited;
}
