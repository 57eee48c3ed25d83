import { writeSync } from 'node:fs';
import { CommanderError } from 'commander';
import { FerryError, messageOf, systemCodeOf } from './errors.ts';

/** The exit codes that every program of the project promises. */
export const exitCodes = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/**
 * Runs a program's main function and sets the process's exit code: what it gives, or what belongs to what it throws.
 * A failure is told on standard error as `error CODE: message`, then its cause, then what to do next where that is known.
 */
export async function runProgram(main: (args: readonly string[]) => Promise<number>): Promise<void> {
  process.stdout.on('error', refuseUnlessClosed);
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    // At once: what a failure leaves open (a timer of a library, standard input) must not keep the process.
    process.exit(reportFailure(error, (text) => writeSync(2, text)));
  }
}

/** That nobody reads any more, as behind `| head -1`, is no failure of what is being done. */
function refuseUnlessClosed(error: Error): void {
  if (systemCodeOf(error) !== 'EPIPE') throw error;
}

/** Tells a failure to the user, and gives the exit code. */
export function reportFailure(thrown: unknown, write: (text: string) => void): number {
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  if (!(thrown instanceof FerryError)) {
    // No expected failure: a mistake in this program. Its stack is what helps.
    write(`error INTERNAL: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}\n`);
    return exitCodes.failed;
  }
  write(`error ${thrown.code}: ${thrown.message}\n`);
  if (thrown.cause !== undefined) write(`cause: ${messageOf(thrown.cause)}\n`);
  if (thrown.next !== undefined) write(`next: ${thrown.next}\n`);
  if (thrown.code === 'USAGE') return exitCodes.usage;
  return thrown.code === 'INTERRUPTED' ? exitCodes.interrupted : exitCodes.failed;
}

/** Puts one of commander's own messages (`error: unknown option '--x'`) into the form of all failures. */
export function usageText(message: string): string {
  const found = message.replace(/^error: /, '').trimEnd();
  return `error USAGE: Cannot understand the command line: ${found}\nnext: Add --help to see what it takes.\n`;
}
