import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { FerryError } from '../../errors.ts';
import type { Account } from './account.ts';
import { heldCommand, letGo } from './held-start.ts';
import type { Launch } from './launch.ts';
import { closeLog, openLog } from './log-file.ts';

/** The settings of {@link spawnDetached}. */
interface SpawnOptions {
  /** File that takes its standard output and standard error. */
  readonly logPath: string;
  /** Goes over the launch's own. */
  readonly environment: Readonly<Record<string, string>>;
  /** Whom it runs as. @default this program's user */
  readonly account?: Account;
  /** Is done with the process's id before the program runs, which takes about 50 ms longer then. @default nothing */
  readonly beforeRun?: (pid: number) => Promise<void>;
}

/** A process that was started. */
interface Spawned {
  readonly pid: number;
  /** Comes with the exit code when it ends, if this program lives to see it; 128 and the signal's number after a signal. */
  readonly ended: Promise<number>;
}

/**
 * Starts a process in a session of its own, so that it goes on when this program ends and a Ctrl-C here does not reach it.
 * @throws {FerryError} ENGINE_FAILED when the system does not start it
 */
export async function spawnDetached(name: string, launch: Launch, options: SpawnOptions): Promise<Spawned> {
  const output = openLog(options.logPath);
  const { account, beforeRun } = options;
  const environment = { ...launch.environment, ...options.environment };
  const [program, ...args] = beforeRun === undefined ? ([launch.program, ...launch.args] as const) : heldCommand;
  try {
    const child = spawn(program, args, {
      cwd: launch.folder,
      // Libraries of the image are for the program of the image alone.
      env: beforeRun === undefined ? environment : options.environment,
      stdio: ['ignore', output, output, ...(beforeRun === undefined ? [] : ['pipe' as const])],
      detached: true,
      ...(beforeRun === undefined ? account : {}),
    });
    const ended = new Promise<number>((resolve) => {
      child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
    await once(child, 'spawn');
    child.unref();
    if (beforeRun !== undefined) {
      await beforeRun(child.pid ?? 0);
      letGo(child, { launch, environment, account });
    }
    // Known once it is spawned.
    return { pid: child.pid ?? 0, ended };
  } catch (cause) {
    throw new FerryError('ENGINE_FAILED', `Cannot start "${name}": the system does not run "${launch.program}"`, {
      cause,
    });
  } finally {
    closeLog(output);
  }
}
