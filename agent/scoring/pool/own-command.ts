import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

/**
 * Gives the command that this process was started by, up to its main module: Node and its options.
 *
 * `process.execArgv` would not do: where Node was started through an image's own dynamic loader
 * (`ld-linux-x86-64.so.2 --library-path … node server.mjs`), the executable is the loader, and Node one of its arguments.
 */
export function ownCommand(): { readonly command: string; readonly options: readonly string[] } {
  const given = commandLine();
  const end = given.findIndex((argument) => resolve(argument) === process.argv[1]);
  const options = end < 0 ? process.execArgv : given.slice(1, end);
  return { command: process.execPath, options };
}

/** The arguments as the kernel has them; none where it has no `/proc`. */
function commandLine(): readonly string[] {
  try {
    return readFileSync('/proc/self/cmdline', 'utf8').split('\0');
  } catch {
    return [];
  }
}
