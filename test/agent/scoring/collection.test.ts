import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { sampleRequestId } from '../../../shared/model/service-config.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { rowsOf, type StoredBlob, storeIn } from '../collect/collect-rig.ts';
import { readDigits, type ScoringRig, startScoring } from './scoring-rig.ts';

/** Starts a server that collects into a folder. */
function startCollecting(folder: string, options: Parameters<typeof startScoring>[0] = {}): Promise<ScoringRig> {
  return startScoring({
    ...options,
    environment: { AML_MODEL_DC_STORAGE_ENABLED: 'true', MODELFERRY_DATA_DIR: folder, ...options.environment },
  });
}

/** Drains what a stopped server has collected. */
async function drained(folder: string): Promise<Map<string, StoredBlob>> {
  const blobs = new Map<string, StoredBlob>();
  const databasePath = join(folder, 'collect.db');
  await drainBuffer({ databasePath, destination: storeIn(blobs), seal: 'all', signal: AbortSignal.timeout(10_000) });
  return blobs;
}

function blobOf(blobs: Map<string, StoredBlob>, designation: string): StoredBlob | undefined {
  return [...blobs.values()].find(({ name }) => name.includes(`/${designation}/`));
}

test('every scored row is collected once as input and once as prediction, joined by correlation id', async () => {
  await using folder = await temporaryFolder();
  const { pixels } = await readDigits();
  {
    await using rig = await startCollecting(folder.path);
    await Promise.all(pixels.map((row) => rig.post('/score', { pixels: [row] })));
    await rig.post('/score', { pixels: pixels.slice(0, 3) });
    await rig.post('/score', { pixels: 'no rows' });
  }
  expect(readLedger(join(folder.path, 'collect.db')).streams).toMatchObject([
    { designation: 'inputs', collected: 363, dropped: {} },
    { designation: 'predictions', collected: 363, dropped: {} },
  ]);
  const blobs = await drained(folder.path);
  const inputs = rowsOf(blobOf(blobs, 'inputs'));
  const predictions = rowsOf(blobOf(blobs, 'predictions'));
  // Behind 64 pixels, and behind a label and 10 probabilities.
  expect(inputs.map((row) => row[64])).toEqual(predictions.map((row) => row[11]));
  expect(new Set(inputs.map((row) => row[64])).size).toBe(361);
  expect(
    inputs
      .slice(0, 360)
      .map((row) => row.slice(0, 64).join(','))
      .toSorted(),
  ).toEqual(pixels.map((row) => row.join(',')).toSorted());
});

test('rows are named by the id that the server gives a request, and by a new one where a client names its requests alike', async () => {
  await using folder = await temporaryFolder();
  const { pixels } = await readDigits();
  await using rig = await startCollecting(folder.path);
  const idsOf = async (headers: Record<string, string>): Promise<(string | null)[]> => {
    const answer = await rig.post('/score', { pixels: pixels.slice(0, 1) }, headers);
    return [answer.headers.get('x-request-id'), answer.headers.get('x-modelferry-correlation-id')];
  };
  const [requestId, correlationId] = await idsOf({});
  expect(correlationId).toBe(requestId);
  const [first, second] = [await idsOf({ 'x-request-id': 'nightly' }), await idsOf({ 'x-request-id': 'nightly' })];
  expect([first[0], second[0]]).toEqual(['nightly', 'nightly']);
  expect(new Set([correlationId, 'nightly', first[1], second[1]]).size).toBe(4);
});

test('a request that proves the service by its sample is scored and not collected', async () => {
  await using folder = await temporaryFolder();
  const { pixels } = await readDigits();
  {
    await using rig = await startCollecting(folder.path);
    const proof = await rig.post('/score', { pixels: pixels.slice(0, 2) }, { 'x-request-id': sampleRequestId });
    expect(proof.status).toBe(200);
    expect(proof.headers.get('x-modelferry-correlation-id')).toBeNull();
    await rig.post('/score', { pixels: pixels.slice(0, 1) });
  }
  expect(readLedger(join(folder.path, 'collect.db')).streams).toMatchObject([
    { designation: 'inputs', collected: 1 },
    { designation: 'predictions', collected: 1 },
  ]);
});

test('metrics give the ledger of what was collected', async () => {
  await using folder = await temporaryFolder();
  const { pixels } = await readDigits();
  await using rig = await startCollecting(folder.path, {
    environment: { MODELFERRY_COLLECT: '{"bytesMax":1048576,"policy":"reject-new"}' },
  });
  // As much again as there is room for.
  const requests = Math.ceil((2 * 1_048_576) / (360 * 64 * 4));
  for (let request = 0; request < requests; request += 1) await rig.post('/score', { pixels });
  const metric = (state: string, reason = ''): RegExp =>
    new RegExp(
      `^modelferry_rows\\{model="digits",version="1",designation="inputs",state="${state}",reason="${reason}"\\} (\\d+)$`,
      'm',
    );
  const text = async (): Promise<string> => await (await fetch(`${rig.url}/metrics`)).text();
  const read = async (state: string, reason?: string): Promise<number> =>
    Number(metric(state, reason).exec(await text())?.[1]);
  await expect.poll(() => read('collected'), { timeout: 10_000 }).toBe(requests * 360);
  expect((await read('buffered')) + (await read('dropped', 'quota'))).toBe(requests * 360);
  expect(await read('dropped', 'quota')).toBeGreaterThan(0);
});

test('rows that a worker process scores are collected as well', async () => {
  await using folder = await temporaryFolder();
  const { pixels } = await readDigits();
  {
    await using rig = await startCollecting(folder.path);
    const many = [...pixels, ...pixels, ...pixels];
    expect((await rig.post('/score', { pixels: many })).status).toBe(200);
  }
  const streams = (): number[] => readLedger(join(folder.path, 'collect.db')).streams.map(({ collected }) => collected);
  await expect.poll(streams, { timeout: 10_000 }).toEqual([1080, 1080]);
});

test('labels are collected by the correlation id that the answer names', async () => {
  await using folder = await temporaryFolder();
  const { pixels } = await readDigits();
  let correlationId: string | null = '';
  {
    await using rig = await startCollecting(folder.path);
    const scored = await rig.post('/score', { pixels: pixels.slice(0, 2) });
    correlationId = scored.headers.get('x-modelferry-correlation-id');
    const taken = await rig.post('/collect/labels', {
      correlationId,
      labels: { digit: [9, 4], sure: [true, false], by: ['a', 'b'] },
    });
    expect([taken.status, await taken.json()]).toEqual([202, { rows: 2 }]);
  }
  const blobs = await drained(folder.path);
  expect(rowsOf(blobOf(blobs, 'labels')).map((row) => row.slice(0, 4))).toEqual([
    ['9', 'True', 'a', correlationId],
    ['4', 'False', 'b', correlationId],
  ]);
  expect(rowsOf(blobOf(blobs, 'inputs')).map((row) => row[64])).toEqual([correlationId, correlationId]);
});

test.each([
  ['no correlation id', { labels: { digit: 1 } }, 'correlationId'],
  ['no label', { correlationId: 'c', labels: {} }, 'it has no label'],
  ['columns of different lengths', { correlationId: 'c', labels: { a: [1, 2], b: 1 } }, '"b" has 1 values, "a" has 2'],
  ['mixed values', { correlationId: 'c', labels: { a: [1, 'x'] } }, '"a" mixes number and string'],
])('labels with %s are refused', async (_, body, message) => {
  await using folder = await temporaryFolder();
  await using rig = await startCollecting(folder.path);
  const answer = await rig.post('/collect/labels', body);
  expect([answer.status, ((await answer.json()) as { message: string }).message]).toEqual([
    400,
    expect.stringContaining(message),
  ]);
});

test('without collection, labels are refused and answers name no rows', async () => {
  await using rig = await startScoring();
  const { pixels } = await readDigits();
  expect((await rig.post('/collect/labels', { correlationId: 'c', labels: { a: 1 } })).status).toBe(404);
  expect((await rig.post('/score', { pixels: [pixels[0]] })).headers.get('x-modelferry-correlation-id')).toBeNull();
});
