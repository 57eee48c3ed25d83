import { expect, test } from 'vitest';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { HubFileUpload } from '../../../agent/hub/file-upload.ts';
import { parseDeviceConnectionString } from '../../../shared/edge/connection-string.ts';
import { type CollectRig, openCollect, rowsOf, scoredRows } from '../../agent/collect/collect-rig.ts';
import { Rig } from '../../agent/rig.ts';
import { expectBalanced } from './expect-nothing-lost.ts';
import { type FaultyStorage, openFaultyStorage, storedBlobs, type StorageFault } from './faulty-storage.ts';

const never = new AbortController().signal;

/** The first so many requests go wrong; the SDK tries each twice by itself. */
function firstOnes(count: number, fault: StorageFault): FaultyStorage['fault'] {
  return ({ kind, number }) => (kind !== 'blocklist' && number < count ? fault : undefined);
}

test('whatever storage answers, each row gets there once', { timeout: 120_000 }, async () => {
  await using storage = await openFaultyStorage();
  await using hub = await Rig.open({ storage: storage.account });
  await using rig = await openCollect();
  const destination = new HubFileUpload(parseDeviceConnectionString(hub.connectionString));
  const faults: StorageFault[] = [403, 409, 412, 429, 500, 503, 'cut-before', 'cut-behind'];
  for (const [index, fault] of faults.entries()) {
    rig.collector.collect(scoredRows(1, index));
    rig.collector.flush();
    storage.requests.length = 0;
    storage.fault = firstOnes(4, fault);
    const report = await rig.drain({ destination, signal: never }).catch((error: unknown) => error);
    // The fault was met: the drain says so, or its retries got through.
    expect({ fault, met: storage.requests.length > 1 || report !== undefined }).toEqual({ fault, met: true });
    expectBalanced(readLedger(rig.databasePath));
  }
  storage.fault = () => undefined;
  await rig.drain({ destination, signal: never });
  expect(readLedger(rig.databasePath).streams).toMatchObject([
    { collected: faults.length, uploaded: faults.length, buffered: 0, quarantined: 0, dropped: {} },
  ]);
  const stored = (await storedBlobs(storage)).flatMap(rowsOf);
  expect(stored.map(([value]) => Number(value)).toSorted((a, b) => a - b)).toEqual([...faults.keys()]);
});

test('an upload whose signature expires half way goes on with a new one, and sends no block twice', async () => {
  await using storage = await openFaultyStorage();
  await using hub = await Rig.open({ storage: storage.account });
  await using rig = await openCollect();
  collectMegabytes(rig);
  const destination = new HubFileUpload(parseDeviceConnectionString(hub.connectionString));
  storage.fault = ({ kind, number }) => (kind === 'block' && number === 2 ? 403 : undefined);
  const report = await rig.drain({ destination, signal: never });
  expect(report).toMatchObject({ blobs: 1, refused: [] });
  const blocks = storage.requests.filter(({ kind }) => kind === 'block');
  // One more than there are: the one that was refused.
  expect(blocks.length).toBe(Math.ceil(report.bytes / 1_048_576) + 1);
  expect((await storedBlobs(storage))[0]?.text.length).toBe(report.bytes);
});

test('an upload that is cut half way goes on where it was', async () => {
  await using storage = await openFaultyStorage();
  await using hub = await Rig.open({ storage: storage.account });
  await using rig = await openCollect();
  collectMegabytes(rig);
  const destination = new HubFileUpload(parseDeviceConnectionString(hub.connectionString));
  storage.fault = ({ kind, number }) => (kind === 'block' && number >= 2 ? 'cut-before' : undefined);
  await expect(rig.drain({ destination, signal: never })).rejects.toMatchObject({ code: 'STORAGE_UNREACHABLE' });
  storage.fault = () => undefined;
  storage.requests.length = 0;
  const report = await rig.drain({ destination, signal: never });
  const blocks = storage.requests.filter(({ kind }) => kind === 'block');
  expect(blocks.length).toBe(Math.ceil(report.bytes / 1_048_576) - 2);
  expect((await storedBlobs(storage))[0]?.text.length).toBe(report.bytes);
});

test('a blob that may not be replaced and is there already counts as stored, another one does not', async () => {
  await using storage = await openFaultyStorage();
  await using hub = await Rig.open({ storage: storage.account });
  const destination = new HubFileUpload(parseDeviceConnectionString(hub.connectionString));
  const metadata = { sha256: 'a'.repeat(64) };
  const blob = { name: 'sub/group/space/a.csv', content: Buffer.from('rows'), contentType: 'text/csv', metadata };
  await destination.upload(blob, never);
  storage.fault = () => 409;
  await destination.upload(blob, never);
  const other = { ...blob, metadata: { sha256: 'b'.repeat(64) } };
  await expect(destination.upload(other, never)).rejects.toMatchObject({ code: 'STORAGE_REFUSED' });
});

/** Collects some megabytes of rows, one file of several blocks. */
function collectMegabytes({ collector }: CollectRig): void {
  const data = Float32Array.from({ length: 400_000 }, (_, index) => Math.sin(index));
  collector.collect({ ...scoredRows(1, 1), tensors: [{ name: 'x', type: 'float32', shape: [10_000, 40], data }] });
  collector.flush();
}
