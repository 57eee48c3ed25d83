import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serverArguments, serverEnvironment } from '../../../cloud/images/server-command.ts';
import { readDigits } from '../../agent/scoring/scoring-rig.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { bareSessions } from './bare-sessions.ts';
import { digitsFile, makeImageRoot } from './image-root.ts';
import { MeasuredProcess } from './measured-process.ts';
import { readWeights } from './weights.ts';
import { type Load, putLoad } from './wrk.ts';

/** What one round of all servers has shown. */
export interface PerceptronRound {
  readonly server: Load;
  /** The same server, with inference replaced by a constant. */
  readonly constant: Load;
  /** Flask and gunicorn with two workers, and the same weights in numpy. */
  readonly flask: Load;
  /** The server at one connection. */
  readonly alone: Load;
  /** One run of `session.run` without a server. */
  readonly bareMs: number;
  readonly readyMs: number;
  readonly startedMb: number;
  readonly loadedMb: number;
}

const constantRuntime = fileURLToPath(new URL('constant-runtime.ts', import.meta.url));
const pythonFolder = fileURLToPath(new URL('.', import.meta.url));

/** Measures servers of the digits perceptron by turns: JSON rows of 64 floats at 16 connections. */
export async function perceptronRounds(rounds: number, seconds: number): Promise<PerceptronRound[]> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder());
  await makeImageRoot(folder.path, 'digits');
  const weights = join(folder.path, 'weights.json');
  await writeFile(weights, JSON.stringify(readWeights(digitsFile)));
  const bodyFile = join(folder.path, 'row.json');
  await writeFile(bodyFile, JSON.stringify({ pixels: (await readDigits()).pixels.slice(0, 1) }));
  const constant = cleanup.use(await startServer(folder.path, ['--import', constantRuntime]));
  const server = cleanup.use(await startServer(folder.path));
  const flask = cleanup.use(await startFlask(weights));
  const bare = cleanup.use(await bareSessions(digitsFile, { input: 'pixels', shape: [1, 64], threads: 1 }));
  const load = (of: MeasuredProcess, given: { connections: number; seconds: number }): Promise<Load> =>
    putLoad({ url: `${of.url}/score`, bodyFile, headers: { 'content-type': 'application/json' }, ...given });
  // What compiles while it runs has done so before it is measured.
  for (const warm of [server, constant, flask]) await load(warm, { connections: 16, seconds });
  const measured: PerceptronRound[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await using fresh = await startServer(folder.path);
    const startedMb = fresh.residentMb;
    measured.push({
      server: await load(server, { connections: 16, seconds }),
      constant: await load(constant, { connections: 16, seconds }),
      flask: await load(flask, { connections: 16, seconds }),
      alone: await load(server, { connections: 1, seconds: 1 }),
      bareMs: (await bare.run(1000)).medianMs,
      readyMs: fresh.readyMs,
      startedMb,
      loadedMb: server.residentMb,
    });
  }
  return measured;
}

/** Starts the bundle as an image does. */
export async function startServer(root: string, options: readonly string[] = []): Promise<MeasuredProcess> {
  return await MeasuredProcess.start({
    command: process.execPath,
    args: () => [
      ...options,
      ...serverArguments.map((argument) => (argument.startsWith('/') ? join(root, argument) : argument)),
    ],
    environment: (port) => ({
      ...Object.fromEntries(serverEnvironment.map((variable) => variable.split('=', 2) as [string, string])),
      NODE_ENV: 'production',
      MODELFERRY_HOST: '127.0.0.1',
      MODELFERRY_PORT: String(port),
      MODELFERRY_LOG_LEVEL: 'warn',
    }),
    path: '/v2/health/ready',
  });
}

async function startFlask(weights: string): Promise<MeasuredProcess> {
  return await MeasuredProcess.start({
    command: 'gunicorn',
    args: (port) => [
      '--workers',
      '2',
      '--bind',
      `127.0.0.1:${port}`,
      '--chdir',
      pythonFolder,
      '--log-level',
      'error',
      'flask_app:app',
    ],
    environment: () => ({ WEIGHTS: weights, PYTHONDONTWRITEBYTECODE: '1' }),
    path: '/ready',
  });
}
