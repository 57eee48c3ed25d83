import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Collector } from '../../../agent/collect/collector.ts';
import { startCommitThread } from '../../../agent/collect/commit-thread.ts';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { scoredRows } from './collect-rig.ts';

const quota = { bytesMax: 1e9, policy: 'reject-new' } as const;
const entry = new URL('../../../agent/scoring/main.ts', import.meta.url);

test('a commit thread makes rows durable before it counts them, and close() waits for that', async () => {
  await using folder = await temporaryFolder();
  const databasePath = join(folder.path, 'collect.db');
  const thread = startCommitThread({ entry, databasePath, quota, onFailure: () => {} });
  const collector = new Collector({ channel: thread, workspace: 's/r/w', service: 'digits' });
  for (let row = 0; row < 1000; row += 1) collector.collect(scoredRows(1, row));
  expect(await collector.close(10_000)).toBe(true);
  expect(collector.counts).toEqual({ committed: 1000, dropped: 0 });
  expect(readLedger(databasePath).streams).toMatchObject([{ collected: 1000, buffered: 1000 }]);
  await thread.stop();
});

test('a damaged buffer is set aside, and collecting goes on with a new one', async () => {
  await using folder = await temporaryFolder();
  const databasePath = join(folder.path, 'collect.db');
  writeFileSync(databasePath, 'no database, and long enough for SQLite to see that'.repeat(100));
  const failures: string[] = [];
  const thread = startCommitThread({ entry, databasePath, quota, onFailure: (failure) => failures.push(failure) });
  const collector = new Collector({ channel: thread, workspace: 's/r/w', service: 'digits' });
  collector.collect(scoredRows(3, 1));
  await until(() => collector.counts.committed === 3);
  expect(failures[0]).toContain('file is not a database');
  const ledger = readLedger(databasePath);
  expect(ledger).toMatchObject({
    streams: [{ collected: 3, buffered: 3 }],
    damaged: [expect.stringMatching(/^collect\.db\.damaged-\d+$/)],
  });
  expect(readFileSync(join(folder.path, ledger.damaged[0] ?? ''), 'utf8')).toContain('no database');
  await thread.stop();
});

test('a commit thread that fails is started again, and what it had not written is dropped by name', async () => {
  await using folder = await temporaryFolder();
  const databasePath = join(folder.path, 'collect.db');
  const failures: string[] = [];
  const thread = startCommitThread({
    entry: new URL('./failing-thread-process.ts', import.meta.url),
    databasePath,
    quota,
    onFailure: (failure) => failures.push(failure),
  });
  const collector = new Collector({ channel: thread, workspace: 's/r/w', service: 'digits' });
  for (let row = 0; row < 500; row += 1) {
    collector.collect(scoredRows(1, row));
    collector.flush();
    if (row === 5) await until(() => collector.counts.committed > 0);
    if (row % 10 === 0) await new Promise(setImmediate);
  }
  await until(() => collector.counts.committed + collector.counts.dropped === 500);
  const { committed, dropped } = collector.counts;
  expect(dropped).toBeGreaterThan(0);
  expect(committed).toBeGreaterThan(0);
  expect(failures.join()).toContain('the thread fails');
  await until(() => readLedger(databasePath).streams[0]?.collected === 500);
  expect(readLedger(databasePath).streams).toMatchObject([
    { collected: 500, buffered: committed, dropped: { 'collector-failed': dropped } },
  ]);
  collector.collect(scoredRows(1, 501));
  expect(await collector.close(5000)).toBe(true);
  await thread.stop();
});
