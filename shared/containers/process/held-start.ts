import type { ChildProcess } from 'node:child_process';
import type { Account } from './account.ts';
import type { Launch } from './launch.ts';

/** What is run, and as whom. */
interface Held {
  readonly launch: Launch;
  readonly environment: Readonly<Record<string, string>>;
  readonly account: Account | undefined;
}

/**
 * Waits for what to become, and becomes it (`execve`): the process keeps its id. Who started it may be gone before it says what: then this
 * ends. What it is to become comes through a pipe, because command lines are there for everybody to read.
 */
const program = `
const { closeSync, readFileSync } = require('node:fs');
const text = readFileSync(3, 'utf8');
closeSync(3);
if (text === '') process.exit(125);
const { program, args, environment, account } = JSON.parse(text);
if (account !== undefined) {
  process.setgroups([]);
  process.setgid(account.gid);
  process.setuid(account.uid);
}
process.execve(program, [program, ...args], environment);
`;

/** The command of a process that waits until {@link letGo} says what it is to become; its fourth file is a pipe from this program. */
export const heldCommand: readonly [string, ...string[]] = [process.execPath, '--no-warnings', '--eval', program];

/** Has a process that was started with {@link heldCommand} become what it is to be. */
export function letGo(child: ChildProcess, { launch, environment, account }: Held): void {
  const pipe = child.stdio[3];
  if (pipe === undefined || pipe === null || !('end' in pipe))
    throw new Error('The process has no pipe to be let go by');
  // One that has ended meanwhile is seen by its end.
  pipe.on('error', () => undefined);
  pipe.end(JSON.stringify({ program: launch.program, args: launch.args, environment, account }));
}
