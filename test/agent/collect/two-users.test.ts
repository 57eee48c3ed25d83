import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, statSync } from 'node:fs';
import { chmod, chown, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { type StoredBlob, storeIn } from './collect-rig.ts';

const collectingProcess = new URL('./collecting-process.ts', import.meta.url);
const drainingProcess = new URL('./draining-process.ts', import.meta.url);

interface Running {
  readonly process: ChildProcess;
  output(): string;
}

function start(file: URL, args: readonly string[], as?: { uid: number; gid: number }): Running {
  const child = spawn(process.execPath, [fileURLToPath(file), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...as,
  });
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
    const first = start(collectingProcess, [databasePath, '1'], { uid: 10_001, gid: 10_001 });
    await until(() => committedIn(first.output()) > 0);
    await kill(first);
    // The last one that closes removes the write-ahead log; root makes it again, and must not keep it for itself.
    const blobs = new Map<string, StoredBlob>();
    await drainBuffer({ databasePath, destination: storeIn(blobs), seal: 'all', signal: AbortSignal.timeout(10_000) });
    const draining = start(drainingProcess, [databasePath, join(folder.path, 'storage')]);
    await until(() => draining.output().includes('drained'));
    const second = start(collectingProcess, [databasePath, '2'], { uid: 10_001, gid: 10_001 });
    await until(() => committedIn(second.output()) > 100);
    for (const suffix of ['', '-wal', '-shm']) expect((await stat(databasePath + suffix)).uid).toBe(10_001);
    await until(() => globSync('storage/**/*.csv', { cwd: folder.path }).length > 0);
    await kill(second);
    await kill(draining);
  },
);
