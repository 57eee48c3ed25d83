import { expect, test } from 'vitest';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { FerryError } from '../../../shared/errors.ts';
import { openCollect, rowsOf, scoredRows, storeIn } from './collect-rig.ts';

test('drainBuffer() sends every row once, in order, in Azure ML’s columns and folders', async () => {
  await using rig = await openCollect();
  rig.collector.collect(scoredRows(2, 0.1));
  rig.collector.collect(scoredRows(1, 7));
  rig.collector.flush();
  const report = await rig.drain();
  expect(report).toMatchObject({
    rows: 3,
    blobs: 1,
    streams: [{ model: 'm', version: 3, designation: 'inputs', rows: 3, blobs: 1 }],
  });
  const [blob] = rig.blobs.values();
  const bufferId = blob?.metadata['bufferid'];
  expect(blob?.name).toBe(`sub/rg/ws/digits/m/3/inputs/2026/11/22/inputs-${bufferId}-1-3.csv`);
  expect(blob?.metadata).toMatchObject({
    rows: '3',
    firstseq: '1',
    lastseq: '3',
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  expect(blob?.text).toBe(
    [
      'x_0,x_1,$aml_dc_correlation_id,$aml_dc_scoring_timestamp,$aml_dc_boundary,$aml_workspace,$aml_service_name,$aml_model_name,$aml_model_version,$aml_request_id',
      '0.1,0.1,c-0.1,2026-11-22T12:00:00.000000+00:00,1440,sub/rg/ws,digits,m,3,r-0.1',
      '0.1,0.1,c-0.1,2026-11-22T12:00:00.000000+00:00,1440,sub/rg/ws,digits,m,3,r-0.1',
      '7,7,c-7,2026-11-22T12:00:00.000000+00:00,1440,sub/rg/ws,digits,m,3,r-7',
      '',
    ].join('\n'),
  );
  expect(await rig.drain()).toMatchObject({ rows: 0, blobs: 0 });
  expect(readLedger(rig.databasePath)).toMatchObject({
    bufferedBytes: 0,
    streams: [{ collected: 3, uploaded: 3, buffered: 0, dropped: {} }],
  });
});

test('drainBuffer() sends the same bytes under the same name again when an acknowledgement was lost', async () => {
  await using rig = await openCollect();
  rig.collector.collect(scoredRows(2, 1));
  rig.collector.flush();
  const storage = storeIn(rig.blobs);
  const lost = new Error('the acknowledgement is lost');
  const destination: typeof storage = {
    upload: async (blob, signal) => {
      await storage.upload(blob, signal);
      throw lost;
    },
  };
  await expect(rig.drain({ destination })).rejects.toBe(lost);
  expect(readLedger(rig.databasePath).streams).toMatchObject([{ collected: 2, uploaded: 0, buffered: 2 }]);
  // Rows that come in between must not get into the batch that is sealed.
  rig.collector.collect(scoredRows(3, 2));
  rig.collector.flush();
  expect(await rig.drain()).toMatchObject({ rows: 5, blobs: 2 });
  expect([...rig.blobs.values()].flatMap(rowsOf).map(([x]) => x)).toEqual(['1', '1', '2', '2', '2']);
});

test('drainBuffer() starts a new file at another day, and at other features', async () => {
  await using rig = await openCollect();
  const scored = scoredRows(1, 1);
  rig.collector.collect(scored);
  rig.collector.collect({ ...scored, scoredAtMs: scored.scoredAtMs + 86_400_000 });
  rig.collector.collect({
    ...scored,
    tensors: [{ name: 'y', type: 'string', shape: [1], data: ['a,"b"'] }],
    scoredAtMs: scored.scoredAtMs + 86_400_000,
  });
  rig.collector.flush();
  expect(await rig.drain()).toMatchObject({ rows: 3, blobs: 3 });
  const files = [...rig.blobs.values()];
  expect(files.map(({ name }) => name.replace(/-[0-9a-f]{12}/, ''))).toEqual([
    'sub/rg/ws/digits/m/3/inputs/2026/11/22/inputs-1-1.csv',
    'sub/rg/ws/digits/m/3/inputs/2026/11/23/inputs-2-2.csv',
    'sub/rg/ws/digits/m/3/inputs/2026/11/23/inputs-3-3.csv',
  ]);
  expect(files[2]?.text).toMatch(/^y,\$aml_dc_correlation_id,.*\n"a,""b""",c-1,/);
});

test('drainBuffer() leaves young rows for later where only what is due is wanted', async () => {
  await using rig = await openCollect();
  rig.collector.collect(scoredRows(1, 1));
  rig.collector.flush();
  const clock = (ms: number) => ({
    nowMs: () => Date.now() + ms,
    monotonicMs: () => 0,
    sleep: () => Promise.resolve(),
  });
  expect(await rig.drain({ seal: 'due', clock: clock(0) })).toMatchObject({ rows: 0 });
  expect(await rig.drain({ seal: 'due', clock: clock(61_000) })).toMatchObject({ rows: 1 });
});

test('drainBuffer() sends what is due too when the clock was set back', async () => {
  await using rig = await openCollect();
  rig.collector.collect(scoredRows(1, 1));
  rig.collector.flush();
  const clock = { nowMs: () => Date.now() - 86_400_000, monotonicMs: () => 0, sleep: () => Promise.resolve() };
  expect(await rig.drain({ seal: 'due', clock })).toMatchObject({ rows: 1 });
});

test('drainBuffer() fails with the signal’s reason and keeps the rows', async () => {
  await using rig = await openCollect();
  rig.collector.collect(scoredRows(1, 1));
  rig.collector.flush();
  await expect(rig.drain({ signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
  expect(readLedger(rig.databasePath).streams).toMatchObject([{ buffered: 1 }]);
});

test('drainBuffer() and readLedger() find nothing where there is no buffer, and make none', async () => {
  await using rig = await openCollect();
  const databasePath = `${rig.databasePath}-missing`;
  expect(await rig.drain({ databasePath })).toEqual({ rows: 0, blobs: 0, bytes: 0, streams: [], refused: [] });
  expect(readLedger(databasePath)).toEqual({ bufferedBytes: 0, streams: [], damaged: [] });
  expect(
    await drainBuffer({
      databasePath,
      destination: storeIn(rig.blobs),
      seal: 'all',
      signal: AbortSignal.timeout(1000),
    }),
  ).toMatchObject({ rows: 0 });
});

test('drainBuffer() puts a batch that storage refuses aside after five times, and sends the others', async () => {
  await using rig = await openCollect();
  rig.collector.collect(scoredRows(1, 13));
  rig.collector.collect({ ...scoredRows(1, 1), designation: 'predictions' });
  rig.collector.flush();
  const storage = storeIn(rig.blobs);
  const destination: typeof storage = {
    upload: async (blob, signal) => {
      if (Buffer.from(blob.content).includes('c-13'))
        throw new FerryError('STORAGE_REFUSED', 'Cannot upload: 13 is refused');
      await storage.upload(blob, signal);
    },
  };
  const first = await rig.drain({ destination });
  expect(first).toMatchObject({ rows: 1, refused: [{ reason: 'Cannot upload: 13 is refused', quarantined: false }] });
  rig.collector.collect(scoredRows(2, 2));
  rig.collector.flush();
  // What is refused does not hold back what comes behind it.
  expect(await rig.drain({ destination })).toMatchObject({ rows: 2, refused: [{ quarantined: false }] });
  for (const quarantined of [false, false, true]) {
    expect(await rig.drain({ destination })).toMatchObject({ rows: 0, refused: [{ quarantined }] });
  }
  expect(await rig.drain({ destination })).toMatchObject({ rows: 0, refused: [] });
  expect(readLedger(rig.databasePath).streams).toMatchObject([
    { designation: 'inputs', collected: 3, uploaded: 2, buffered: 0, quarantined: 1, dropped: {} },
    { designation: 'predictions', collected: 1, uploaded: 1, buffered: 0, quarantined: 0, dropped: {} },
  ]);
});
