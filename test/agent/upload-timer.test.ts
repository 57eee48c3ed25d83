import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { uploadAll, uploadEvery, type UploadRecord } from '../../agent/upload-timer.ts';
import { systemClock } from '../../shared/clock.ts';
import { createLogger } from '../../shared/log.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';

const log = createLogger('test', { level: 'silent' });
const destination = { upload: () => Promise.resolve() };
const onUpload = (): void => undefined;
const onDrained = (): Promise<void> => Promise.resolve();

test('uploadAll() drains the buffer of every module, whatever happens to one of them', async () => {
  await using folder = await temporaryFolder();
  for (const module of ['a', 'b', 'c']) await mkdir(join(folder.path, module));
  const drained: string[] = [];
  const drain = async (path: string): Promise<number> => {
    drained.push(path);
    if (path.includes('/b/')) throw new Error('broken');
    return 1;
  };
  const records: UploadRecord[] = [];
  const { signal } = new AbortController();
  const toRecords = (record: UploadRecord): void => void records.push(record);
  await uploadAll({ modulesFolder: folder.path, destination, drain, onUpload: toRecords, onDrained, log, signal });
  expect(records).toMatchObject([
    { module: 'a', rows: 1 },
    { module: 'b', rows: 0, error: 'broken' },
    { module: 'c', rows: 1 },
  ]);
  expect(drained.sort((a, b) => a.localeCompare(b))).toEqual(
    ['a', 'b', 'c'].map((module) => join(folder.path, module, 'data/collect.db')),
  );
});

test('uploadAll() does nothing where there are no modules yet', async () => {
  const drain = (): Promise<number> => Promise.reject(new Error('nothing is there'));
  const signal = new AbortController().signal;
  await expect(
    uploadAll({ modulesFolder: '/nowhere', destination, drain, onUpload, onDrained, log, signal }),
  ).resolves.toBeUndefined();
});

test('uploadEvery() drains again and again until it is told to end', async () => {
  await using folder = await temporaryFolder();
  await mkdir(join(folder.path, 'a'));
  const ending = new AbortController();
  let count = 0;
  const drain = async (): Promise<number> => (count += 1);
  const options = { modulesFolder: folder.path, destination, drain, onUpload, onDrained, log, signal: ending.signal };
  const running = uploadEvery({ ...options, everyMs: 5, clock: systemClock });
  await until(() => count >= 3);
  ending.abort();
  await running;
  expect(count).toBeGreaterThanOrEqual(3);
});
