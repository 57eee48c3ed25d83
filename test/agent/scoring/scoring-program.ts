import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { until } from '../../until.ts';
import { scoringEntry } from './scoring-rig.ts';

/** A running scoring server as a program of its own. */
export interface Program extends AsyncDisposable {
  readonly process: ChildProcess;
  /** Its log lines so far. */
  lines(): { msg: string; port?: number; grpcPort?: number; code?: string }[];
  /** Waits until it is ready, and gives its address. */
  url(): Promise<string>;
  exitCode(): Promise<number | null>;
}

/**
 * Starts the program on a folder that stands for the image's root.
 * @param entry its main module @default its source
 */
export function startProgram(
  root: string,
  environment: NodeJS.ProcessEnv = {},
  entry = fileURLToPath(scoringEntry),
): Program {
  const own = { MODELFERRY_ROOT: root, MODELFERRY_PORT: '0', MODELFERRY_HOST: '127.0.0.1', ...environment };
  const child = spawn(process.execPath, [entry], {
    env: { ...process.env, ...own },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (piece: Buffer) => (log += piece.toString()));
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const lines = (): ReturnType<Program['lines']> =>
    log
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as { msg: string });
  return {
    process: child,
    lines,
    url: async () => {
      const ready = (): { port?: number } | undefined => lines().find(({ msg }) => msg === 'ready');
      return `http://127.0.0.1:${(await until(ready, { what: 'the program', timeoutMs: 30_000 })).port}`;
    },
    exitCode: async () => (await exited)[0],
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
