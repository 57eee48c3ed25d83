import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processesOf } from './processes-of.ts';

/** How long processes may take to end that were told to, in milliseconds. */
const endTimeoutMs = 5_000;

/**
 * Makes an empty folder that is removed when the test's scope ends: `await using folder = await temporaryFolder()`. A container's process that
 * still runs out of it then fails the test: a test ends what it begins.
 * @param parent folder that it is made in @default the machine's for temporary files
 */
export async function temporaryFolder(parent = tmpdir()): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(parent, 'ferry-test-'));
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      const endMs = performance.now() + endTimeoutMs;
      let left = await processesOf(path);
      for (; left.length > 0 && performance.now() < endMs; left = await processesOf(path)) await sleep(50);
      await rm(path, { recursive: true, force: true });
      if (left.length > 0) throw new Error(`still running: ${left.join(', ')}`);
    },
  };
}
