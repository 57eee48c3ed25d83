import { setTimeout as sleep } from 'node:timers/promises';
import { FerryError, systemCodeOf } from '../../errors.ts';
import { type ProcessIdentity, isAlive } from './process-identity.ts';

/** How often it is looked whether a process has ended that was asked to, in milliseconds. */
const stopPollMs = 20;
/** How long the system may take to end a killed process, in milliseconds; it is stuck in a driver if it takes longer. */
const killTimeoutMs = 10_000;

/**
 * Asks a process and its group to end, and kills them when they have not in time.
 * @throws {FerryError} ENGINE_FAILED when the system does not end it
 */
export async function endProcess(identity: ProcessIdentity, graceMs: number, signal?: AbortSignal): Promise<void> {
  signalGroup(identity.pid, graceMs > 0 ? 'SIGTERM' : 'SIGKILL');
  if (graceMs > 0 && (await hasEnded(identity, graceMs, signal))) return;
  signalGroup(identity.pid, 'SIGKILL');
  if (await hasEnded(identity, killTimeoutMs, signal)) return;
  throw new FerryError(
    'ENGINE_FAILED',
    `Cannot end process ${identity.pid}: it is there ${killTimeoutMs} ms after SIGKILL`,
  );
}

async function hasEnded(identity: ProcessIdentity, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (await isAlive(identity)) {
    if (performance.now() > end) return false;
    await sleep(stopPollMs, undefined, signal === undefined ? {} : { signal });
  }
  return true;
}

/** Signals a process and its group, where it leads one. */
function signalGroup(pid: number, name: NodeJS.Signals): void {
  if (!signalOne(-pid, name)) signalOne(pid, name);
}

/** Signals a process, or with a negative number a group, and says whether there was one. */
function signalOne(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if (systemCodeOf(error) !== 'ESRCH') throw error;
    return false;
  }
}
