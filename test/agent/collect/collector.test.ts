import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { type CollectSettings, parseCollectSettings } from '../../../agent/collect/collect-settings.ts';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { releaseQuarantine } from '../../../agent/collect/release-quarantine.ts';
import type { UploadDestination } from '../../../agent/collect/upload-destination.ts';
import { FerryError } from '../../../shared/errors.ts';
import { openCollect, rowsOf, scoredRows, type StoredBlob, storeIn } from './collect-rig.ts';

function settings(given: Partial<CollectSettings>): { readonly settings: CollectSettings } {
  return { settings: parseCollectSettings(JSON.stringify(given)) };
}

test('a sample holds all designations of a request or none, the same requests on every device', async () => {
  const sampled: string[][] = [];
  for (let device = 0; device < 2; device += 1) {
    await using rig = await openCollect(undefined, settings({ sampleRate: 0.25 }));
    for (let request = 0; request < 4000; request += 1) {
      const scored = scoredRows(1, request);
      const taken = rig.collector.collect(scored);
      expect(rig.collector.collect({ ...scored, designation: 'predictions' })).toBe(taken);
      if (request % 200 === 0) await Promise.resolve(rig.collector.flush());
    }
    rig.collector.flush();
    await rig.drain();
    const idsOf = (designation: string): string[] =>
      [...rig.blobs.values()]
        .filter(({ name }) => name.includes(designation))
        .flatMap((blob) => rowsOf(blob).map((row) => row[2] ?? ''));
    expect(idsOf('/inputs/')).toEqual(idsOf('/predictions/'));
    sampled.push(idsOf('/inputs/'));
  }
  expect(sampled[0]).toEqual(sampled[1]);
  expect(sampled[0]?.length).toBeGreaterThan(900);
  expect(sampled[0]?.length).toBeLessThan(1100);
});

test('what is redacted is nowhere, neither in the buffer nor in the file', async () => {
  await using rig = await openCollect(undefined, settings({ redact: ['x_1', 'name'] }));
  rig.collector.collect({
    ...scoredRows(2, 1),
    tensors: [
      { name: 'x', type: 'int32', shape: [2, 3], data: Int32Array.of(1, 777, 3, 4, 777, 6) },
      { name: 'name', type: 'string', shape: [2], data: ['secret-one', 'secret-two'] },
    ],
  });
  rig.collector.flush();
  await rig.drain();
  const [blob] = rig.blobs.values();
  expect(blob?.text.split(',$')[0]).toBe('x_0,x_2');
  expect(rowsOf(blob).map((row) => row.slice(0, 2))).toEqual([
    ['1', '3'],
    ['4', '6'],
  ]);
  expect(blob?.text).not.toMatch(/777|secret/);
});

test('columns have their declared names, and names that do not fit are left aside', async () => {
  await using rig = await openCollect(
    undefined,
    settings({ columns: { x: ['width', 'height'], y: ['a', 'b'] }, redact: ['height'] }),
  );
  const y = { name: 'y', type: 'int32' as const, shape: [1, 3], data: Int32Array.of(7, 8, 9) };
  rig.collector.collect({ ...scoredRows(1, 1), tensors: [...scoredRows(1, 1).tensors, y] });
  rig.collector.flush();
  await rig.drain();
  expect([...rig.blobs.values()][0]?.text.split(',$')[0]).toBe('width,y_0,y_1,y_2');
});

test('a payload keeps its content type: small in the row, large as a blob of its own that the row points to', async () => {
  await using rig = await openCollect();
  const large = Buffer.alloc(300_000, 'x');
  rig.collector.collect({
    ...scoredRows(1, 1),
    payloads: [
      { name: 'thumb', contentType: 'image/png', content: Buffer.from('png') },
      { name: 'photo', contentType: 'image/jpeg', content: large },
    ],
  });
  rig.collector.flush();
  expect(readLedger(rig.databasePath).bufferedBytes).toBeGreaterThan(large.length);
  const sent: Parameters<UploadDestination['upload']>[0][] = [];
  await rig.drain({ destination: { upload: async (blob) => void sent.push(blob) } });
  const [photo, rows] = sent;
  expect(photo).toMatchObject({ contentType: 'image/jpeg' });
  expect(
    createHash('sha256')
      .update(photo?.content ?? '')
      .digest(),
  ).toEqual(createHash('sha256').update(large).digest());
  const [line = ''] = Buffer.from(rows?.content ?? '')
    .toString()
    .split('\n')
    .slice(1);
  const [, , thumb = '', pointer = ''] = line
    .replaceAll(/"([^"]*)"/g, (_, text: string) => text.replace(',', ';'))
    .split(',');
  expect(thumb).toBe(`data:image/png;base64;${Buffer.from('png').toString('base64')}`);
  const folder = rows?.name.slice(0, rows.name.lastIndexOf('/')) ?? '';
  expect(photo?.name).toBe(`${folder}/${pointer}`);
  expect(readLedger(rig.databasePath)).toMatchObject({ bufferedBytes: 0, streams: [{ collected: 1, uploaded: 1 }] });
});

test('uploads keep below the rate that the settings allow', async () => {
  let nowMs = 0;
  const clock = {
    nowMs: () => Date.now() + nowMs,
    monotonicMs: () => nowMs,
    sleep: async (ms: number) => void (nowMs += ms),
  };
  await using rig = await openCollect(undefined, { drain: { bytesPerSecondMax: 10_000 } });
  for (let day = 0; day < 5; day += 1) {
    rig.collector.collect({ ...scoredRows(200, day), scoredAtMs: Date.UTC(2026, 10, 1 + day) });
    rig.collector.flush();
  }
  const { bytes, blobs } = await rig.drain({ clock });
  expect(blobs).toBe(5);
  // The last one has not been paid for yet.
  expect(nowMs).toBeGreaterThan(((bytes * 4) / 5 / 10_000) * 990);
});

test('what lies aside is named by the batches behind it, and goes out when it is released', async () => {
  await using rig = await openCollect();
  rig.collector.collect(scoredRows(3, 13));
  rig.collector.flush();
  const destination = refusing('c-13', rig.blobs);
  for (let time = 0; time < 5; time += 1) await rig.drain({ destination });
  rig.collector.collect(scoredRows(2, 2));
  rig.collector.flush();
  await rig.drain({ destination });
  expect([...rig.blobs.values()].map(({ metadata }) => metadata)).toMatchObject([
    { firstseq: '4', lastseq: '5', quarantined: '1-3' },
  ]);
  expect(readLedger(rig.databasePath).streams).toMatchObject([{ uploaded: 2, quarantined: 3 }]);
  expect(releaseQuarantine(rig.databasePath)).toBe(3);
  await rig.drain();
  expect(readLedger(rig.databasePath).streams).toMatchObject([{ collected: 5, uploaded: 5, quarantined: 0 }]);
});

test('rows that nothing followed are told by a file without rows', async () => {
  await using rig = await openCollect({ bytesMax: 10, policy: 'reject-new' });
  rig.collector.collect(scoredRows(7, 1));
  rig.collector.flush();
  expect(await rig.drain()).toMatchObject({ rows: 0, blobs: 1 });
  const [blob] = rig.blobs.values();
  expect(blob?.metadata).toMatchObject({ rows: '0', firstseq: '1', lastseq: '7', dropped: 'quota:7' });
  expect(await rig.drain()).toMatchObject({ blobs: 0 });
});

/** A storage that refuses what holds a text. */
function refusing(text: string, blobs: Map<string, StoredBlob>): UploadDestination {
  const storage = storeIn(blobs);
  return {
    upload: async (blob, signal) => {
      if (Buffer.from(blob.content).includes(text)) throw new FerryError('STORAGE_REFUSED', 'Cannot store: refused');
      await storage.upload(blob, signal);
    },
  };
}

test.each([
  ['{"sampleRate":0,"policy":"drop"}', /sampleRate.*policy/],
  ['{"redcat":["x"]}', /redcat/],
  ['{', /JSON was wanted/],
])('parseCollectSettings() names what is wrong with %s', (text, found) => {
  expect(() => parseCollectSettings(text)).toThrow(
    expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(found) }),
  );
});
