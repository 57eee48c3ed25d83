import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { rowsOf, type StoredBlob, storeIn } from '../../agent/collect/collect-rig.ts';
import { Random } from '../../random.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { expectBalanced } from './expect-nothing-lost.ts';

/** `KILL_SEED=7 KILL_POINTS=1000 npx vitest run … killed` goes through these again, or through more. */
const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 1_000_000);
const points = Number(process.env['KILL_POINTS'] ?? 24);
/** A program that does not come to its step is killed then. */
const roundMsMax = 4000;

/** Up to which step each is killed: about what it does until the one after has something to do. */
const stepsMax = { collecting: 1500, uploading: 600, storage: 40 };

test(
  `scoring, agent and storage killed at any step lose no counted row and double none (KILL_SEED=${seed})`,
  { timeout: 60_000 + points * 2000 },
  async () => {
    await using folder = await temporaryFolder();
    const databasePath = join(folder.path, 'collect.db');
    const blobFolder = join(folder.path, 'blobs');
    const cache = join(folder.path, 'cache');
    const random = new Random(seed);
    const port = await freePort();
    const counted = new Map<string, number>();
    for (let run = 1; run <= points / 3; run += 1) {
      const killAt = (who: keyof typeof stepsMax): Record<string, string> => ({
        // The first run gets far, so that there is something to lose.
        KILL_AT: String(run === 1 ? stepsMax[who] : 1 + random.below(stepsMax[who])),
        NODE_COMPILE_CACHE: cache,
      });
      const storage = start('./storage-process.ts', [blobFolder, String(port)], killAt('storage'));
      const collecting = start(
        '../../agent/collect/collecting-process.ts',
        [databasePath, String(run), '1'],
        killAt('collecting'),
      );
      const uploading = start(
        './uploading-process.ts',
        [databasePath, `http://127.0.0.1:${port}`],
        killAt('uploading'),
      );
      await Promise.all([collecting.ended, uploading.ended]);
      storage.process.kill('SIGKILL');
      await storage.ended;
      counted.set(String(run), Number(collecting.output().trimEnd().split('\n').at(-1) ?? 0));
      expect(storage.output()).toBe('');
      expectBalanced(readLedger(databasePath));
    }
    const stored = globSync('*.csv', { cwd: blobFolder }).map((name) => readBlob(join(blobFolder, name)));
    const blobs = new Map(stored.map((blob) => [blob.name, blob]));
    const signal = AbortSignal.timeout(30_000 + points * 500);
    await drainBuffer({ databasePath, destination: storeIn(blobs), seal: 'all', signal });
    expectAllOnce([...blobs.values()], counted);
    const ledger = readLedger(databasePath);
    expectBalanced(ledger);
    const rows = [...blobs.values()].flatMap(rowsOf).length;
    expect(ledger.streams).toMatchObject([{ collected: rows, uploaded: rows, buffered: 0, dropped: {} }]);
  },
);

/** Expects of every run its rows 1, 2, 3, … once each, and at least those that were counted. */
function expectAllOnce(blobs: readonly StoredBlob[], counted: ReadonlyMap<string, number>): void {
  const perRun = new Map<string, number[]>();
  for (const [run = '', row] of blobs.flatMap(rowsOf)) perRun.set(run, [...(perRun.get(run) ?? []), Number(row)]);
  expect([...counted.values()].some((rows) => rows > 0)).toBe(true);
  for (const [run, atLeast] of counted) {
    const rows = (perRun.get(run) ?? []).toSorted((left, right) => left - right);
    expect({ run, rows }).toEqual({ run, rows: rows.map((_, index) => index + 1) });
    expect(rows.length).toBeGreaterThanOrEqual(atLeast);
  }
}

interface Killed {
  readonly process: ChildProcess;
  readonly ended: Promise<unknown>;
  output(): string;
}

/** Starts a program that is killed at a step, or when its time is over. */
function start(file: string, args: readonly string[], env: Record<string, string>): Killed {
  const [preload, program] = ['./kill-at-process.ts', file].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  const child = spawn(process.execPath, ['--import', preload ?? '', program ?? '', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
    timeout: roundMsMax,
    killSignal: 'SIGKILL',
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return { process: child, ended: once(child, 'close'), output: () => output };
}

function readBlob(path: string): StoredBlob {
  return JSON.parse(readFileSync(path, 'utf8')) as StoredBlob;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
