import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openBuffer } from '../../../agent/collect/buffer-file.ts';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { until } from '../../until.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { openCollect, rowsOf, scoredRows } from './collect-rig.ts';

/** Bytes of a block with one request of one row of scoredRows(). */
const blockBytes = 32;

test('the quota rejects new rows, by name, where that is its policy', async () => {
  await using rig = await openCollect({ bytesMax: blockBytes * 2, policy: 'reject-new' });
  for (const value of [1, 2, 3, 4]) {
    rig.collector.collect(scoredRows(1, value));
    rig.collector.flush();
  }
  expect(readLedger(rig.databasePath).streams).toMatchObject([{ collected: 4, buffered: 2, dropped: { quota: 2 } }]);
  await rig.drain();
  expect(rowsOf([...rig.blobs.values()][0]).map(([x]) => x)).toEqual(['1', '2']);
});

test('the quota drops the oldest rows, by name, where that is its policy', async () => {
  await using rig = await openCollect({ bytesMax: blockBytes * 2, policy: 'drop-oldest' });
  for (const value of [1, 2, 3, 4]) {
    rig.collector.collect(scoredRows(1, value));
    rig.collector.flush();
  }
  expect(readLedger(rig.databasePath).streams).toMatchObject([{ collected: 4, buffered: 2, dropped: { evicted: 2 } }]);
  await rig.drain();
  expect(rowsOf([...rig.blobs.values()][0]).map(([x]) => x)).toEqual(['3', '4']);
});

test('rows of a sealed batch are never dropped for new ones', async () => {
  await using rig = await openCollect({ bytesMax: blockBytes * 2, policy: 'drop-oldest' });
  rig.collector.collect(scoredRows(1, 1));
  rig.collector.flush();
  const unreachable = { upload: () => Promise.reject(new Error('unreachable')) };
  await expect(rig.drain({ destination: unreachable })).rejects.toThrow('unreachable');
  for (const value of [2, 3, 4]) {
    rig.collector.collect(scoredRows(1, value));
    rig.collector.flush();
  }
  await rig.drain();
  expect([...rig.blobs.values()].flatMap(rowsOf).map(([x]) => x)).toEqual(['1', '4']);
  expect(readLedger(rig.databasePath).streams).toMatchObject([{ collected: 4, uploaded: 2, dropped: { evicted: 2 } }]);
});

test('rows that are too wide for a table are dropped by name', async () => {
  await using rig = await openCollect();
  const wide = { name: 'x', type: 'uint8' as const, shape: [1, 20_000], data: new Uint8Array(20_000) };
  rig.collector.collect({ ...scoredRows(1, 1), tensors: [wide] });
  rig.collector.flush();
  expect(readLedger(rig.databasePath).streams).toMatchObject([
    { collected: 1, buffered: 0, dropped: { 'too-wide': 1 } },
  ]);
});

test('what was collected reaches the buffer by itself within milliseconds', async () => {
  await using rig = await openCollect();
  rig.collector.collect(scoredRows(1, 1));
  await until(() => readLedger(rig.databasePath).streams.length === 1);
  expect(rig.collector.counts).toEqual({ committed: 1, dropped: 0 });
});

test('openBuffer() refuses a file that is no buffer', async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/collect.db`;
  writeFileSync(path, 'this is no database at all, but some text that is long enough to be one'.repeat(100));
  expect(() => openBuffer(path)).toThrow(expect.objectContaining({ code: 'BUFFER_INVALID' }));
});

test('openBuffer() refuses a buffer of a newer version', async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/collect.db`;
  const database = openBuffer(path);
  database.pragma('user_version = 99');
  database.close();
  expect(() => openBuffer(path)).toThrow(expect.objectContaining({ code: 'BUFFER_INVALID' }));
});
