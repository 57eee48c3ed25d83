import { statSync, truncateSync, writeFileSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Collector } from '../../../agent/collect/collector.ts';
import { type CommitThreadOptions, startCommitThread } from '../../../agent/collect/commit-thread.ts';
import { readLedger } from '../../../agent/collect/ledger.ts';
import type { UploadDestination } from '../../../agent/collect/upload-destination.ts';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { FerryError } from '../../../shared/errors.ts';
import { openCollect, scoredRows, type StoredBlob, storeIn } from '../../agent/collect/collect-rig.ts';
import { canMount, smallDisk } from '../../cloud/small-disk.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { expectBalanced, expectNothingLost, numberedRow } from './expect-nothing-lost.ts';

const entry = new URL('../../../agent/scoring/main.ts', import.meta.url);
const dayMs = 86_400_000;
const noon = Date.UTC(2026, 10, 22, 12);

const away: UploadDestination = {
  upload: () => Promise.reject(new FerryError('STORAGE_UNREACHABLE', 'Cannot store: away')),
};

test.each(['reject-new', 'drop-oldest', 'thin'] as const)(
  'storage that is away for an hour fills the buffer, and all that was not kept has a name (%s)',
  async (policy) => {
    let nowMs = noon;
    const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs, sleep: () => Promise.resolve() };
    await using rig = await openCollect({ bytesMax: 20_000, policy }, { nowMs: clock.nowMs });
    let number = 0;
    for (let minute = 0; minute < 60; minute += 1) {
      for (let row = 0; row < 20; row += 1) {
        number += 1;
        rig.collector.collect(numberedRow(number, 'inputs', nowMs));
        rig.collector.collect(numberedRow(number, 'predictions', nowMs));
      }
      rig.collector.flush();
      nowMs += 60_000;
      await expect(rig.drain({ destination: away, clock })).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE' });
      const ledger = readLedger(rig.databasePath);
      expectBalanced(ledger);
      expect(ledger.bufferedBytes).toBeLessThanOrEqual(20_000);
    }
    const reason = { 'reject-new': 'quota', 'drop-oldest': 'evicted', thin: 'thinned' }[policy];
    expect(readLedger(rig.databasePath).streams).toMatchObject([
      { collected: 1200, uploaded: 0, dropped: { [reason]: expect.any(Number) } },
      { collected: 1200, uploaded: 0, dropped: { [reason]: expect.any(Number) } },
    ]);
    await expectNothingLost(rig.folder, { counted: number, stored: new Map() });
  },
);

test('thinning keeps the same requests of all designations', async () => {
  await using rig = await openCollect({ bytesMax: 20_000, policy: 'thin', keepOneIn: 3 });
  for (let number = 1; number <= 2000; number += 1) {
    rig.collector.collect(numberedRow(number, 'inputs', noon));
    rig.collector.collect(numberedRow(number, 'predictions', noon));
    if (number % 20 === 0) rig.collector.flush();
  }
  await rig.drain();
  const idsOf = (designation: string): Set<string> =>
    new Set(
      [...rig.blobs.values()].flatMap(
        ({ name, text }) => (name.includes(designation) ? text.match(/c-\d+/g) : []) ?? [],
      ),
    );
  const [inputs, predictions] = [idsOf('/inputs/'), idsOf('/predictions/')];
  // Blocks of the two are thinned by turns, so that the last ones may differ by what one of them was thinned more.
  expect(inputs.intersection(predictions).size).toBeGreaterThan(Math.min(inputs.size, predictions.size) * 0.9);
  expect(inputs.size).toBeLessThan(1200);
});

test('rows of a lower priority make room first', async () => {
  const designations = { labels: { priority: 2 }, inputs: { priority: 1 } };
  await using rig = await openCollect({ bytesMax: 2000, policy: 'drop-oldest', designations });
  for (let number = 1; number <= 60; number += 1) {
    for (const designation of ['labels', 'inputs', 'signals'] as const) {
      rig.collector.collect(numberedRow(number, designation, noon));
    }
    rig.collector.flush();
  }
  const [labels, inputs, signals] = readLedger(rig.databasePath).streams;
  expect(labels).toMatchObject({ designation: 'labels' });
  expect([labels?.buffered, signals?.buffered]).toEqual([60, 0]);
  expect(inputs?.buffered).toBeLessThan(60);
  expectBalanced(readLedger(rig.databasePath));
});

test('what is fresh does not wait for the backlog, in whatever order that goes', async () => {
  for (const order of ['oldest-first', 'newest-first'] as const) {
    await using rig = await openCollect(undefined, { drain: { order } });
    for (let day = 0; day < 6; day += 1) {
      // More than a file a day.
      rig.collector.collect({ ...scoredRows(60_000, day), scoredAtMs: noon + day * dayMs });
      rig.collector.flush();
      await Promise.resolve();
    }
    const days: number[] = [];
    const storage = storeIn(rig.blobs);
    await rig.drain({
      destination: {
        upload: async (blob, signal) => {
          days.push(Number(/\/2026\/11\/(\d+)\//.exec(blob.name)?.[1]) - 22);
          await storage.upload(blob, signal);
        },
      },
    });
    expect({ order, first: days.slice(0, 2) }).toEqual({ order, first: [5, order === 'newest-first' ? 5 : 0] });
    expect(days.length).toBe(12);
    expect(readLedger(rig.databasePath).streams).toMatchObject([{ collected: 360_000, uploaded: 360_000 }]);
  }
}, 60_000);

test('a clock that jumps makes no row too old, and keeps none from being sent', async () => {
  let nowMs = 0;
  const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs, sleep: () => Promise.resolve() };
  await using rig = await openCollect({ bytesMax: 1e9, policy: 'reject-new', ageMsMax: dayMs }, { nowMs: clock.nowMs });
  const times = [1000, noon, noon + 400 * dayMs, noon - 30 * dayMs, noon];
  for (const [index, time] of times.entries()) {
    nowMs = time;
    rig.collector.collect(numberedRow(index + 1, 'inputs', nowMs));
    rig.collector.flush();
  }
  expect(readLedger(rig.databasePath).streams).toMatchObject([{ collected: 5, buffered: 5, dropped: {} }]);
  nowMs = noon - 100 * dayMs;
  await rig.drain({ seal: 'due', clock });
  nowMs = noon + dayMs;
  await rig.drain({ seal: 'due', clock });
  expect(readLedger(rig.databasePath).streams).toMatchObject([{ collected: 5, uploaded: 5, dropped: {} }]);
});

test('pain 19, what an age limit means for a device that was off: rows that wait longer, while the device runs, are dropped by name', async () => {
  let nowMs = noon;
  await using rig = await openCollect(
    { bytesMax: 1e9, policy: 'reject-new', ageMsMax: 3_600_000 },
    { nowMs: () => nowMs },
  );
  for (let number = 1; number <= 30; number += 1) {
    rig.collector.collect(numberedRow(number, 'inputs', nowMs));
    rig.collector.flush();
    nowMs += 300_000;
  }
  const [inputs] = readLedger(rig.databasePath).streams;
  expect(inputs).toMatchObject({ collected: 30, buffered: 13, dropped: { expired: 17 } });
});

test('a buffer that is damaged under way is set aside with its totals, and collecting goes on', async () => {
  await using folder = await temporaryFolder();
  await using writer = startWriter(join(folder.path, 'collect.db'));
  for (let number = 1; number <= 500; number += 1) writer.collector.collect(numberedRow(number, 'inputs', noon));
  await until(() => writer.collector.counts.committed === 500);
  await writer.stop();
  // What holds the rows is overwritten, what holds the totals is not.
  const size = statSync(writer.databasePath).size;
  const file = await open(writer.databasePath, 'r+');
  await file.write(Buffer.alloc(8192, 0x5a), 0, 8192, size - 8192);
  await file.close();
  const blobs = new Map<string, StoredBlob>();
  const drain = (): Promise<unknown> =>
    drainBuffer({
      databasePath: writer.databasePath,
      destination: storeIn(blobs),
      seal: 'all',
      signal: AbortSignal.timeout(10_000),
    });
  await expect(drain()).rejects.toMatchObject({ code: 'BUFFER_INVALID' });
  await using after = startWriter(writer.databasePath);
  after.collector.collect(numberedRow(501, 'inputs', noon));
  await until(() => after.collector.counts.committed === 1);
  await drain();
  const ledger = readLedger(writer.databasePath);
  expectBalanced(ledger);
  expect(ledger.damaged).toHaveLength(1);
  expect(ledger.streams).toMatchObject([{ collected: 501, uploaded: 1, dropped: { damaged: 500 } }]);
  expect([...blobs.values()][0]?.metadata).toMatchObject({
    rows: '1',
    firstseq: '1',
    lastseq: '501',
    dropped: 'damaged:500',
  });
});

test('a writer whose buffer was set aside by the other process goes on in the new one', async () => {
  await using folder = await temporaryFolder();
  await using writer = startWriter(join(folder.path, 'collect.db'));
  writer.collector.collect(numberedRow(1, 'inputs', noon));
  await until(() => writer.collector.counts.committed === 1);
  const { setAside } = await import('../../../agent/collect/set-aside.ts');
  setAside(writer.databasePath, 1);
  writer.collector.collect(numberedRow(2, 'inputs', noon));
  await until(() => writer.collector.counts.committed === 2);
  expect(readLedger(writer.databasePath).streams).toMatchObject([
    { collected: 2, buffered: 1, dropped: { damaged: 1 } },
  ]);
});

test.skipIf(!canMount)('a disk that fills leaves its reserve, and rows go on when there is room again', async () => {
  await using disk = await smallDisk(16 * 1024 * 1024);
  const quota = { bytesMax: 1e9, policy: 'reject-new', diskReserveBytes: 8 * 1024 * 1024 } as const;
  await using writer = startWriter(join(disk.path, 'collect.db'), { quota });
  const filler = join(disk.path, 'filler');
  const collect = async (): Promise<number> => {
    const before = writer.collector.counts.committed;
    writer.collector.collect(scoredRows(2000, 1));
    await until(() => writer.collector.counts.committed > before);
    return readLedger(writer.databasePath).streams[0]?.buffered ?? 0;
  };
  expect(await collect()).toBe(2000);
  // Somebody else takes what is left but four megabytes.
  writeFileSync(filler, Buffer.alloc(9 * 1024 * 1024));
  const kept = await collect();
  expect(kept).toBeLessThan(4000);
  expect(readLedger(writer.databasePath).streams).toMatchObject([{ dropped: { 'disk-full': expect.any(Number) } }]);
  // The reserve is there for the agent.
  await writeFile(join(disk.path, 'state.json'), Buffer.alloc(1024 * 1024));
  truncateSync(filler, 0);
  expect(await collect()).toBe(kept + 2000);
  expectBalanced(readLedger(writer.databasePath));
});

test.skipIf(!canMount)('rows that a full disk does not take wait, and are durable when it does', async () => {
  await using disk = await smallDisk(8 * 1024 * 1024);
  await using writer = startWriter(join(disk.path, 'collect.db'));
  writer.collector.collect(scoredRows(10, 1));
  await until(() => writer.collector.counts.committed === 10);
  const filler = join(disk.path, 'filler');
  expect(() => writeFileSync(filler, Buffer.alloc(16 * 1024 * 1024))).toThrow('ENOSPC');
  writer.collector.collect(scoredRows(20_000, 2));
  await until(() => writer.failures.some((failure) => failure.includes('full')));
  truncateSync(filler, 0);
  await until(() => writer.collector.counts.committed === 20_010);
  expect(readLedger(writer.databasePath).streams).toMatchObject([{ collected: 20_010, buffered: 20_010, dropped: {} }]);
});

/** A collector over a real commit thread. */
function startWriter(databasePath: string, options: Partial<CommitThreadOptions> = {}) {
  const failures: string[] = [];
  const thread = startCommitThread({
    entry,
    databasePath,
    quota: { bytesMax: 1e9, policy: 'reject-new' },
    onFailure: (failure) => failures.push(failure),
    ...options,
  });
  const collector = new Collector({ channel: thread, workspace: 'sub/rg/ws', service: 'digits' });
  const stop = async (): Promise<void> => {
    await collector.close(1000);
    await thread.stop();
  };
  return { collector, databasePath, failures, stop, [Symbol.asyncDispose]: stop };
}
