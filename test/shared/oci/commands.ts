import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Runs a command to its end and gives its output; fails with what it wrote to standard error. */
export async function runCommand(command: string, args: readonly string[]): Promise<string> {
  const { stdout } = await run(command, args, { timeout: 60_000, maxBuffer: 16 * 1024 * 1024 });
  return stdout;
}

/** Says whether a command can be run: `hasCommand('docker', 'info')`. */
export async function hasCommand(command: string, ...args: readonly string[]): Promise<boolean> {
  try {
    await run(command, args.length === 0 ? ['--version'] : args, { timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}
