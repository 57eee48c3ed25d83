import { copyFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serverPath } from '../../cloud/images/engine-layer.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import type { Bench } from './measure.ts';
import { makeImageRoot, squarePath, squareSize } from './scoring/image-root.ts';
import { MeasuredProcess } from './scoring/measured-process.ts';

const swaps = 50;
/** Memory settles while the first swaps go on. */
const warmUpSwaps = 3;
const adminKey = 'admin-key-of-the-bench';

/** Swaps a model of 100 MB for another again and again, under requests, and looks at the memory of the server and its workers. */
export async function openBench(): Promise<Bench> {
  const { startMb, endMb, failed, answered, medianSwapMs } = await swapModels();
  const once = { rounds: 1 } as const;
  return {
    measures: [
      {
        figure: `memory after ${swaps} swaps of a 100 MB model`,
        unit: 'MB',
        sample: async () => endMb,
        reference: { name: 'before', sample: async () => startMb },
        bar: { atMost: 1.1 },
        ...once,
      },
      {
        figure: `failed of ${answered} requests meanwhile`,
        unit: '',
        sample: async () => failed,
        bar: { atMost: 0 },
        ...once,
      },
      {
        figure: 'a swap, sample scored and old one ended',
        unit: 'ms',
        sample: async () => medianSwapMs,
        bar: { atMost: 10_000 },
        ...once,
      },
    ],
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function swapModels(): Promise<{
  startMb: number;
  endMb: number;
  failed: number;
  answered: number;
  medianSwapMs: number;
}> {
  await using folder = await temporaryFolder();
  await makeImageRoot(folder.path, 'square');
  const keysFile = join(folder.path, 'keys.json');
  await writeFile(keysFile, JSON.stringify({ keys: ['caller-key-of-the-bench'], adminKey }));
  await using server = await MeasuredProcess.start({
    command: process.execPath,
    args: () => [join(folder.path, serverPath)],
    environment: (port) => ({
      MODELFERRY_HOST: '127.0.0.1',
      MODELFERRY_PORT: String(port),
      MODELFERRY_LOG_LEVEL: 'warn',
      MODELFERRY_KEYS_FILE: keysFile,
      WORKER_COUNT: '1',
    }),
    path: '/v2/health/ready',
  });
  const state = { swapping: true, failed: 0, answered: 0 };
  const client = requestWhile(server.url, state);
  const file = join(folder.path, squarePath);
  const times: number[] = [];
  let startMb = 0;
  for (let swap = 0; swap < warmUpSwaps + swaps; swap += 1) {
    if (swap === warmUpSwaps) startMb = await settledMb(server);
    await copyFile(file, `${file}.next`);
    await rename(`${file}.next`, file);
    const startMs = performance.now();
    const answer = await fetch(`${server.url}/v2/repository/models/square/load`, {
      method: 'POST',
      headers: { authorization: `Bearer ${adminKey}` },
    });
    if (!answer.ok) throw new Error(`swap ${swap}: ${answer.status} ${await answer.text()}`);
    times.push(performance.now() - startMs);
  }
  const endMb = await settledMb(server);
  state.swapping = false;
  await client;
  const { failed, answered } = state;
  return { startMb, endMb, failed, answered, medianSwapMs: times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0 };
}

/** Scores one row after the other. */
async function requestWhile(
  url: string,
  state: { swapping: boolean; failed: number; answered: number },
): Promise<void> {
  const body = JSON.stringify({ x: [Array.from({ length: squareSize }, (_, index) => index % 7)] });
  const headers = { authorization: 'Bearer caller-key-of-the-bench' };
  while (state.swapping) {
    const answer = await fetch(`${url}/score`, { method: 'POST', body, headers });
    await answer.arrayBuffer();
    state.answered += 1;
    if (!answer.ok) state.failed += 1;
  }
}

/** Memory once the workers that go are gone. */
async function settledMb(server: MeasuredProcess): Promise<number> {
  while (server.processes > 2) await new Promise((resolve) => setTimeout(resolve, 50));
  return server.residentMb;
}
