import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { processesOf } from './processes-of.ts';
import { until } from './until.ts';

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
      try {
        await until(async () => (await processesOf(path)).length === 0, { timeoutMs: endTimeoutMs });
      } catch (cause) {
        throw new Error(`still running: ${(await processesOf(path)).join(', ')}`, { cause });
      } finally {
        await rm(path, { recursive: true, force: true });
      }
    },
  };
}
