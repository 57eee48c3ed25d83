import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Random } from '../../random.ts';
import { type Azurite, startAzurite, uploadRows } from './azurite.ts';

const kills = Number(process.env['PULL_KILLS'] ?? 4);
/** Rows of the test of memory, beside an eighth of them; `PULL_ROWS=400000` for a figure worth a README. */
const manyRows = Number(process.env['PULL_ROWS'] ?? 16_000);
/** What more rows may take of memory: SQLite's caches of the join's windows, and what V8 lets grow before it collects. */
const grownBytesMax = 192 * 1024 * 1024;
const program = fileURLToPath(new URL('pulling-process.ts', import.meta.url));

let azurite: Azurite;
beforeAll(async () => {
  azurite = await startAzurite();
});
afterAll(() => azurite[Symbol.asyncDispose]());

async function openRig() {
  const data = await azurite.newWorkspace();
  const { folder, workspace, blobs } = data;
  const start = (out: string): ChildProcess =>
    spawn(process.execPath, [program, folder, join(folder, out)], { stdio: ['ignore', 'pipe', 'inherit'] });
  return {
    ...data,
    start,
    /** Puts so many requests of one row into blobs of so many, inputs and predictions. */
    fill: async (requests: number, perBlob: number, width: number) => {
      for (let first = 0; first < requests; first += perBlob) {
        const rowsOf = (columns: number) =>
          Array.from({ length: Math.min(perBlob, requests - first) }, (_, at) => ({
            correlationId: `c${first + at}`,
            requestId: `r${first + at}`,
            rows: [Array.from({ length: columns }, (__, column) => (first + at) * 1000 + column)],
          }));
        const place = { folder: `gw-1/${workspace.scope}/digits/digits/1`, bufferId: 'b1', firstSeq: first + 1 };
        const names = Array.from({ length: width }, (_, column) => `x_${column}`);
        await uploadRows(blobs, { ...place, designation: 'inputs', features: names, requests: rowsOf(width) });
        await uploadRows(blobs, { ...place, designation: 'predictions', features: ['y'], requests: rowsOf(1) });
      }
    },
    finish: async (out: string) => {
      const child = start(out);
      let text = '';
      child.stdout?.on('data', (piece: Buffer) => (text += piece.toString()));
      await once(child, 'close');
      return JSON.parse(text) as { rows: number; joined: number; resumed: number; peakBytes: number };
    },
    digest: async (out: string) =>
      createHash('sha256')
        .update(await readFile(join(folder, out)))
        .digest('hex'),
  };
}

test('a pull that is killed at any moment goes on where it was, to the same bytes', { timeout: 120_000 }, async () => {
  await using rig = await openRig();
  await rig.fill(3000, 200, 8);
  const began = performance.now();
  await rig.finish('whole.csv');
  const tookMs = performance.now() - began;
  const whole = await rig.digest('whole.csv');
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e6));
  const random = new Random(seed);
  let resumed = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    const child = rig.start('killed.csv');
    const closed = once(child, 'close');
    await Promise.race([sleep(random.below(Math.ceil(tookMs))), closed]);
    child.kill('SIGKILL');
    await closed;
    // The file is there whole or not at all.
    const isThere = existsSync(join(rig.folder, 'killed.csv'));
    expect(isThere ? await rig.digest('killed.csv') : whole, `seed ${seed}`).toBe(whole);
  }
  ({ resumed } = await rig.finish('killed.csv'));
  expect(await rig.digest('killed.csv'), `seed ${seed}`).toBe(whole);
  expect(resumed, `seed ${seed}`).toBeLessThanOrEqual(30);
  expect((await readdir(rig.folder)).filter((name) => name.startsWith('killed'))).toEqual(['killed.csv']);
});

test('a second pull into the same file is refused while the first one runs', async () => {
  await using rig = await openRig();
  await rig.fill(2000, 100, 4);
  const first = rig.start('rows.csv');
  const closed = once(first, 'close');
  const stage = join(rig.folder, 'rows.csv.pull-wal');
  while (!existsSync(stage)) await sleep(2);
  // However long the second takes to start, the first is still there.
  first.kill('SIGSTOP');
  const second = spawn(process.execPath, [program, rig.folder, join(rig.folder, 'rows.csv')], { stdio: 'pipe' });
  let said = '';
  second.stderr.on('data', (piece: Buffer) => (said += piece.toString()));
  await once(second, 'close');
  first.kill('SIGCONT');
  await closed;
  expect(said).toContain('IN_USE');
});

test('rows that are pulled are never all in memory', { timeout: 20 * 60_000 }, async () => {
  await using rig = await openRig();
  await rig.fill(manyRows / 8, 2000, 8);
  const few = await rig.finish('few.csv');
  await rig.fill(manyRows, 2000, 8);
  const many = await rig.finish('many.csv');
  expect(many).toMatchObject({ rows: manyRows, joined: manyRows });
  expect(many.peakBytes - few.peakBytes).toBeLessThan(grownBytesMax);
});
