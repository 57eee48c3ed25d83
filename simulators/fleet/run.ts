import type { FleetOptions } from './options.ts';
import { runReally } from './real-run.ts';
import { runVirtually } from './virtual-run.ts';

/** How often it is told how far a run is, in milliseconds. */
const tellEveryMs = 2_000;

/** Runs a fleet, tells on standard error how far it is, and prints the report as one line of JSON. Ends with standard input. */
export async function runFleet(options: FleetOptions): Promise<void> {
  const ending = new AbortController();
  // A run in real time has processes to end and a folder to remove.
  const onEnd = (): void =>
    options.virtual ? process.exit(1) : ending.abort(new Error('nobody waits for the report'));
  process.stdin.once('end', onEnd).resume();
  // On a terminal they reach this program too.
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, onEnd);
  let toldMs = performance.now();
  const tell = (text: () => string): void => {
    if (performance.now() - toldMs < tellEveryMs) return;
    toldMs = performance.now();
    process.stderr.write(`${text()}\n`);
  };
  const report = options.virtual
    ? await runVirtually(options, (atMs) => tell(() => `simulate: ${Math.floor((atMs / options.durationMs) * 100)} %`))
    : await runReally(options, (text) => tell(() => `simulate: ${text}`), ending.signal);
  process.stdout.write(`${JSON.stringify(report)}\n`);
  process.stdin.off('end', onEnd).destroy();
}
