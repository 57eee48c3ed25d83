import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DataFilter } from '../../../cloud/data/blob-path.ts';
import { pullData } from '../../../cloud/data/pull.ts';
import { type Azurite, startAzurite } from './azurite.ts';

const scope = 'sub/rg/lab';
const folder = `${scope}/digits/mlp/1`;

let azurite: Azurite;
beforeAll(async () => {
  azurite = await startAzurite();
});
afterAll(() => azurite[Symbol.asyncDispose]());

async function openRig() {
  const data = await azurite.newWorkspace();
  const { container, blobs } = data;
  const pull = async (file: string, change: { skipDamaged?: boolean; filter?: DataFilter } = {}) => {
    const { skipDamaged = false, filter = {} } = change;
    const options = { scope, filter, out: join(data.folder, file), skipDamaged, onProgress: () => {} };
    return await pullData(container, { ...options, signal: AbortSignal.timeout(20_000) });
  };
  return {
    put: async (path: string, content: string | Uint8Array) => {
      const bytes = Buffer.from(content);
      await blobs.getBlockBlobClient(`${folder}/${path}`).upload(bytes, bytes.length);
    },
    pull,
    lines: async (change?: Parameters<typeof pull>[1]) => {
      await pull('rows.csv', change);
      const lines = (await readFile(join(data.folder, 'rows.csv'), 'utf8')).trimEnd().split('\n');
      return lines.map((line) => line.replace(/^((?:[^,]*,){6})/, ''));
    },
    parquet: async () => {
      await pull('rows.parquet');
      return await parquetReadObjects({
        file: new Uint8Array(await readFile(join(data.folder, 'rows.parquet'))).buffer,
        compressors: { ZSTD: (input) => zstdDecompressSync(input) },
      });
    },
    [Symbol.asyncDispose]: () => data[Symbol.asyncDispose](),
  };
}

const event = (id: string, data: string, time = '2026-11-22T10:00:00Z'): string =>
  `{"specversion":"1.0","id":"1","source":"/s","type":"azureml.inference.inputs","time":"${time}","correlationid":"${id}","xrequestid":"r-${id}","data":${data}}\n`;
const parquetOf = (columns: Record<string, unknown[]>): Uint8Array =>
  new Uint8Array(parquetWriteBuffer({ columnData: Object.entries(columns).map(([name, data]) => ({ name, data })) }));
const whole = parquetOf({ x: [1.5, 2.5], $aml_dc_correlation_id: ['a', 'b'] });

test.each<[string, string, string | Uint8Array, RegExp]>([
  ['CSV that is cut within a quote', 'a.csv', 'x,$aml_dc_correlation_id\n"1', /rows of CSV/],
  ['CSV that is cut within a row', 'a.csv', 'x,$aml_dc_correlation_id\n1,a\n2', /rows of CSV/],
  ['CSV of somebody else', 'a.csv', 'name,age\nfoo,1\n', /the columns of Azure ML's collector/],
  ['an empty file', 'a.csv', '', /the columns of Azure ML's collector/],
  ['bytes that are no CSV', 'a.csv', Buffer.from([0xff, 0xd8, 0, 1, 2, 3]), /was wanted/],
  [
    'Parquet with other columns',
    'a.parquet',
    parquetOf({ name: ['foo'], age: [3] }),
    /no column "\$aml_dc_correlation_id"/,
  ],
  ['Parquet that is cut', 'a.parquet', whole.subarray(0, whole.length - 20), /a Parquet file was wanted/],
  ['Parquet with a damaged page', 'a.parquet', damaged(whole), /was wanted/],
  ['JSON lines of somebody else', 'a.jsonl', '{"hello":"world"}\n', /line 1 is none/],
  [
    'JSON lines that are cut',
    'a.jsonl',
    event('a', '[{"x":1}]') + event('b', '[{"x":1}]').slice(0, 60),
    /line 2 is none/,
  ],
  ['JSON lines that are no UTF-8', 'a.jsonl', Buffer.from([0x7b, 0xff, 0x7d, 10]), /line 1 is none/],
])('a pull refuses %s by name, and goes on without it when told to', async (_what, file, content, message) => {
  await using rig = await openRig();
  const csv = 'x,$aml_dc_correlation_id,$aml_dc_scoring_timestamp\n7,c7,2026-11-22T10:00:00.000000+00:00\n';
  await rig.put('inputs/2026/11/22/good.csv', csv);
  await rig.put(`inputs/2026/11/22/${file}`, content);
  await expect(rig.pull('rows.csv')).rejects.toMatchObject({
    code: 'DATA_INCONSISTENT',
    message: expect.stringMatching(message),
  });
  await expect(rig.pull('rows.csv')).rejects.toThrow(`inputs/2026/11/22/${file}"`);
  expect(await rig.lines({ skipDamaged: true })).toEqual(['inputs.x', '7']);
});

function damaged(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes, (byte, at) => (at >= 4 && at < 40 ? 0xff : byte));
}

test('a pull takes one column set of each year, and every format, into one file', async () => {
  await using rig = await openRig();
  await rig.put(
    'inputs/2026/11/20/data.csv',
    '$Timestamp,$CorrelationId,$RequestId,x,only2018\n2026-11-20T10:00:00.123456,a,r-a,1,old\n',
  );
  await rig.put(
    'inputs/2026/11/21/inputs.jsonl',
    event('b', '[{"x":2,"flag":true},{"x":3,"flag":null}]', '2026-11-21T10:00:00Z'),
  );
  await rig.put('inputs/2026/11/22/10/inputs.parquet', parquetOf({ x: [4], $aml_dc_correlation_id: ['c'] }));
  expect(await rig.lines()).toEqual(['inputs.x,inputs.only2018,inputs.flag', '4,,', '1,old,', '2,,True', '3,,']);
  expect(await rig.parquet()).toMatchObject([
    { correlation_id: 'c', 'inputs.x': 4n, 'inputs.flag': null },
    { correlation_id: 'a', 'inputs.x': 1n, 'inputs.only2018': 'old', timestamp: '2026-11-20T10:00:00.123456+00:00' },
    { correlation_id: 'b', 'inputs.x': 2n, 'inputs.flag': true },
    { correlation_id: 'b', 'inputs.x': 3n, 'inputs.flag': null },
  ]);
});

test('a pull keeps integers that a double does not hold, from JSON of somebody else too', async () => {
  await using rig = await openRig();
  await rig.put('inputs/2026/11/22/a.jsonl', event('a', '[{"id":9007199254740993,"x":0.12345678901234567,"y":-0}]'));
  expect(await rig.lines()).toEqual(['inputs.id,inputs.x,inputs.y', '9007199254740993,0.12345678901234566,-0']);
  const [row] = await rig.parquet();
  expect(row).toMatchObject({ 'inputs.id': 9_007_199_254_740_993n, 'inputs.y': -0 });
});

test('a column whose type changes over time gets one that holds all its values', async () => {
  await using rig = await openRig();
  await rig.put('inputs/2026/11/20/a.csv', 'x,y,$aml_dc_correlation_id\n1,1,a\n');
  await rig.put('inputs/2026/11/21/b.csv', 'x,y,$aml_dc_correlation_id\n1.5,007,b\n');
  expect((await rig.parquet()).map((row) => [row['inputs.x'], row['inputs.y']])).toEqual([
    [1, '1'],
    [1.5, '007'],
  ]);
});

test('requests that share a correlation id stay apart, and labels may come before what they label', async () => {
  await using rig = await openRig();
  const trailing = '$aml_dc_correlation_id,$aml_dc_scoring_timestamp,$aml_request_id';
  const at = (minute: number): string => `2026-11-22T10:0${minute}:00.000000+00:00`;
  await rig.put(
    'labels/2026/11/21/labels.csv',
    `truth,${trailing}\n1,solo,2026-11-21T10:00:00.000000+00:00,l1\n2,twice,${at(0)},l2\n`,
  );
  await rig.put(
    'inputs/2026/11/22/a.csv',
    `x,${trailing}\n10,solo,${at(1)},r1\n20,twice,${at(2)},r2\n30,twice,${at(3)},r3\n`,
  );
  await rig.put(
    'predictions/2026/11/22/a.csv',
    `y,${trailing}\n11,solo,${at(1)},r1\n21,twice,${at(2)},r2\n31,twice,${at(3)},r3\n`,
  );
  // One label for two rows of that id belongs to neither for sure.
  expect(await rig.lines()).toEqual(['inputs.x,predictions.y,labels.truth', ',,2', '10,11,1', '20,21,', '30,31,']);
  const fromMs = Date.UTC(2026, 10, 22, 10, 1);
  const beforeMs = Date.UTC(2026, 10, 22, 10, 3);
  // Rows by their own time; the label of another day is there for the row that it belongs to.
  expect(await rig.lines({ filter: { fromMs, beforeMs } })).toEqual([
    'inputs.x,predictions.y,labels.truth',
    '10,11,1',
    '20,21,2',
  ]);
});
