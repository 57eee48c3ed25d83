import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Stream } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { bundleServer } from '../../../cloud/images/server-bundle.ts';
import type { BoundSocket } from '../../../shared/containers/engine.ts';
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
 * @param entry its main module, by default its source
 * @param socket is handed over as its file descriptor 3
 */
export function startProgram(
  root: string,
  environment: NodeJS.ProcessEnv = {},
  {
    entry = fileURLToPath(scoringEntry),
    socket,
  }: { readonly entry?: string; readonly socket?: BoundSocket | undefined } = {},
): Program {
  const own = { MODELFERRY_ROOT: root, MODELFERRY_PORT: '0', MODELFERRY_HOST: '127.0.0.1', ...environment };
  const child = spawn(process.execPath, [entry], {
    env: { ...process.env, ...own },
    stdio: ['ignore', 'ignore', 'pipe', ...(socket === undefined ? [] : [socket as unknown as Stream])],
  });
  let log = '';
  child.stderr?.on('data', (piece: Buffer) => (log += piece.toString()));
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

/** Writes the server's modules as an image has them, and gives the path of the main one. */
export async function writeServerModules(root: string): Promise<string> {
  const folder = join(root, 'opt');
  await mkdir(folder);
  await symlink(new URL('../../../node_modules', import.meta.url).pathname, join(folder, 'node_modules'));
  for (const { name, content } of (await bundleServer()).modules) await writeFile(join(folder, name), content);
  return join(folder, 'server.mjs');
}
