import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { Stream } from 'node:stream';
import { FerryError } from '../../errors.ts';
import { type BoundSocket, listenVariable } from '../engine.ts';
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
  /** Is handed over, listening or not; its number there is in {@link listenVariable}. @default none */
  readonly socket?: BoundSocket | undefined;
  /**
   * Is done with the process's id before the program runs, which takes about 50 ms longer then; with a socket as soon as it runs, since becoming
   * another program would close that.
   * @default nothing
   */
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
  const { account, beforeRun, socket } = options;
  const isHeld = beforeRun !== undefined && socket === undefined;
  const handed = socket === undefined ? {} : { [listenVariable]: '3' };
  const environment = { ...launch.environment, ...options.environment, ...handed };
  const [program, ...args] = isHeld ? heldCommand : ([launch.program, ...launch.args] as const);
  try {
    const child = spawn(program, args, {
      cwd: launch.folder,
      // Libraries of the image are for the program of the image alone.
      env: isHeld ? options.environment : environment,
      // Node takes its own handles there, which its types do not say.
      stdio: [
        'ignore',
        output,
        output,
        ...(isHeld ? ['pipe' as const] : socket === undefined ? [] : [socket as unknown as Stream]),
      ],
      detached: true,
      ...(isHeld ? {} : account),
    });
    const ended = new Promise<number>((resolve) => {
      child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
    await once(child, 'spawn');
    child.unref();
    await beforeRun?.(child.pid ?? 0);
    if (isHeld) letGo(child, { launch, environment, account });
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
