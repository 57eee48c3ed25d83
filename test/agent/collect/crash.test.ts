import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync, statSync } from 'node:fs';
import { chmod, chown, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { rowsOf, type StoredBlob, storeIn } from './collect-rig.ts';

/** `CRASH_ROUNDS=500 CRASH_SEED=7 npx vitest run … crash` goes through more points, or the same ones again. */
const rounds = Number(process.env['CRASH_ROUNDS'] ?? 6);
const seed = Number(process.env['CRASH_SEED'] ?? Date.now() % 100_000);

interface Running {
  readonly process: ChildProcess;
  output(): string;
}

function start(file: string, args: readonly string[], as?: { uid: number; gid: number }): Running {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'inherit'], ...as });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return { process: child, output: () => output };
}

/** Ends it as a power cut ends a process. */
async function kill({ process }: Running): Promise<void> {
  if (process.exitCode !== null) return;
  process.kill('SIGKILL');
  await once(process, 'exit');
}

function committedIn(output: string): number {
  return Number(output.trimEnd().split('\n').at(-1) ?? 0);
}

test(
  `kill -9 of both sides at any point loses no counted row and doubles none (seed ${seed})`,
  { timeout: 600_000 },
  async () => {
    await using folder = await temporaryFolder();
    const databasePath = join(folder.path, 'collect.db');
    const storage = join(folder.path, 'storage');
    let random = seed;
    const nextRandom = (): number => {
      random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
      return random / 2 ** 31;
    };
    const counted = new Map<string, number>();
    for (let run = 1; run <= rounds; run += 1) {
      const collecting = start('./collecting-process.ts', [databasePath, String(run)]);
      const draining = start('./draining-process.ts', [databasePath, storage]);
      await until(() => committedIn(collecting.output()) > 0);
      const delays = [nextRandom() * 150, nextRandom() * 150];
      await Promise.all([sleep(delays[0]).then(() => kill(draining)), sleep(delays[1]).then(() => kill(collecting))]);
      counted.set(String(run), committedIn(collecting.output()));
      expect(draining.output()).not.toContain('DIFFERS');
      for (const { collected, uploaded, buffered, dropped } of readLedger(databasePath).streams) {
        expect({ run, collected }).toEqual({ run, collected: uploaded + buffered });
        expect(dropped).toEqual({});
      }
    }
    const rest = new Map<string, StoredBlob>();
    await drainBuffer({ databasePath, destination: storeIn(rest), seal: 'all', signal: AbortSignal.timeout(60_000) });
    const stored = globSync('**/*.csv', { cwd: storage }).filter((name) => !rest.has(name));
    const before = stored.map((name) => ({ name, metadata: {}, text: readFileSync(join(storage, name), 'utf8') }));
    const perRun = new Map<string, number[]>();
    for (const [run = '', row] of [...before, ...rest.values()].flatMap(rowsOf)) {
      perRun.set(run, [...(perRun.get(run) ?? []), Number(row)]);
    }
    for (const [run, rows] of perRun) {
      const sorted = rows.toSorted((left, right) => left - right);
      // None twice, none missing between the first and the last, and at least all that were counted.
      expect({ run, rows: sorted }).toEqual({ run, rows: sorted.map((_, index) => index + 1) });
      expect(sorted.length).toBeGreaterThanOrEqual(counted.get(run) ?? 0);
    }
    const total = [...perRun.values()].reduce((sum, rows) => sum + rows.length, 0);
    expect(readLedger(databasePath).streams).toMatchObject([{ collected: total, uploaded: total, buffered: 0 }]);
  },
);

/** Whether this can start processes of another user that may read these sources. */
const canBeAnotherUser = process.getuid?.() === 0 && othersMayEnter(import.meta.dirname);

function othersMayEnter(folder: string): boolean {
  return (statSync(folder).mode & 0o001) !== 0 && (dirname(folder) === folder || othersMayEnter(dirname(folder)));
}

test.skipIf(!canBeAnotherUser)(
  'root drains a buffer that another user writes, and leaves all files to that user',
  async () => {
    await using folder = await temporaryFolder();
    const databasePath = join(folder.path, 'collect.db');
    await chmod(folder.path, 0o755);
    await chown(folder.path, 10_001, 10_001);
    const first = start('./collecting-process.ts', [databasePath, '1'], { uid: 10_001, gid: 10_001 });
    await until(() => committedIn(first.output()) > 0);
    await kill(first);
    // The last one that closes removes the write-ahead log; root makes it again, and must not keep it for itself.
    const blobs = new Map<string, StoredBlob>();
    await drainBuffer({ databasePath, destination: storeIn(blobs), seal: 'all', signal: AbortSignal.timeout(10_000) });
    const draining = start('./draining-process.ts', [databasePath, join(folder.path, 'storage')]);
    await until(() => draining.output().includes('drained'));
    const second = start('./collecting-process.ts', [databasePath, '2'], { uid: 10_001, gid: 10_001 });
    await until(() => committedIn(second.output()) > 100);
    for (const suffix of ['', '-wal', '-shm']) expect((await stat(databasePath + suffix)).uid).toBe(10_001);
    await until(() => globSync('storage/**/*.csv', { cwd: folder.path }).length > 0);
    await kill(second);
    await kill(draining);
  },
);
