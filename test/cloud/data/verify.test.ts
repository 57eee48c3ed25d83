import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runFerry } from '../../ferry.ts';
import { verifyData, type VerifyReport } from '../../../cloud/data/verify.ts';
import { labelRows } from '../../../cloud/data/label.ts';
import { dataStatus } from '../../../cloud/data/status.ts';
import { type Azurite, startAzurite, uploadRows } from './azurite.ts';

let azurite: Azurite;
beforeAll(async () => {
  azurite = await startAzurite();
});
afterAll(() => azurite[Symbol.asyncDispose]());

const request = (id: number, rows: (string | number)[][]) => ({ correlationId: `c${id}`, requestId: `r${id}`, rows });

async function openRig() {
  const data = await azurite.newWorkspace();
  const { container, folder } = data;
  const { scope } = data.workspace;
  const inputs = {
    folder: `gw-1/${scope}/digits/digits/1`,
    designation: 'inputs',
    bufferId: 'b1',
    features: ['x_0', 'x_1'],
  } as const;
  return {
    ...data,
    scope,
    inputs,
    cwd: folder,
    signal: AbortSignal.timeout(20_000),
    verify: (content = true): Promise<VerifyReport> =>
      verifyData(container, { scope, filter: {}, content, signal: AbortSignal.timeout(20_000), onProgress: () => {} }),
  };
}

test('verifyData() finds nothing wrong with what a device and the cloud have uploaded', async () => {
  await using rig = await openRig();
  const { inputs, blobs, scope } = rig;
  await uploadRows(blobs, { ...inputs, firstSeq: 1, requests: [request(1, [[1, 2]])] });
  await uploadRows(blobs, { ...inputs, firstSeq: 2, requests: [request(2, [[3, 4]])] });
  await uploadRows(blobs, {
    ...inputs,
    folder: `${scope}/digits/digits/1`,
    bufferId: 'b2',
    firstSeq: 1,
    requests: [request(3, [[5, 6]])],
  });
  expect(await rig.verify()).toMatchObject({
    blobs: 3,
    rows: 3,
    missing: 0,
    doubled: 0,
    unchecked: 0,
    foreign: [],
    findings: [],
  });
});

test('verifyData() finds a gap, an overlap, a wrong count, other content, a copy and what is foreign', async () => {
  await using rig = await openRig();
  const { inputs, blobs } = rig;
  const two = [
    request(1, [
      [1, 2],
      [3, 4],
    ]),
  ];
  await uploadRows(blobs, { ...inputs, firstSeq: 1, requests: two });
  await uploadRows(blobs, {
    ...inputs,
    firstSeq: 2,
    requests: [
      request(2, [
        [5, 6],
        [7, 8],
      ]),
    ],
  });
  await uploadRows(blobs, {
    ...inputs,
    firstSeq: 7,
    requests: [request(3, [[9, 9]])],
    metadata: { rows: '2', lastseq: '8' },
  });
  const altered = await uploadRows(blobs, { ...inputs, firstSeq: 9, requests: [request(4, [[9, 9]])] });
  const { metadata = {} } = await blobs.getBlobClient(altered).getProperties();
  await blobs.getBlockBlobClient(altered).upload('x_0,$aml_dc_correlation_id\n1,c4\n', 31, { metadata });
  await uploadRows(blobs, { ...inputs, bufferId: 'b9', firstSeq: 1, requests: two });
  const foreign = `${inputs.folder}/inputs/2026/11/22/notes.txt`;
  await blobs.getBlockBlobClient(foreign).upload('hello', 5);
  const report = await rig.verify();
  expect(report).toMatchObject({ missing: 3, doubled: 1 + 2, foreign: [foreign] });
  expect(report.findings).toEqual([
    expect.stringMatching(/^1 rows of ".*b1-2-3\.csv" are in ".*b1-1-2\.csv" too$/),
    expect.stringMatching(/^rows 4 to 6 before ".*b1-7-7\.csv" are missing$/),
    expect.stringMatching(/^2 rows of ".*b9-1-2\.csv" are in ".*b1-1-2\.csv" too, byte for byte$/),
    expect.stringMatching(/b1-7-7\.csv": it holds 1 rows, 2, as its metadata says, was wanted$/),
    expect.stringMatching(/b1-9-9\.csv": its content has another digest, the one in its metadata was wanted$/),
  ]);
  expect((await rig.verify(false)).findings).toHaveLength(3);
});

test('ferry data verify prints what is wrong and exits 1, and 0 where nothing is', async () => {
  await using rig = await openRig();
  const { inputs, blobs, cwd } = rig;
  await uploadRows(blobs, { ...inputs, firstSeq: 1, requests: [request(1, [[1, 2]])] });
  expect((await runFerry(['data', 'verify'], { cwd })).code).toBe(0);
  await uploadRows(blobs, { ...inputs, firstSeq: 3, requests: [request(2, [[1, 2]])] });
  const { code, stdout, stderr } = await runFerry(['data', 'verify', '--json'], { cwd });
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ missing: 1, findings: [expect.stringContaining('rows 2 to 2 before')] });
  expect(stderr).toMatch(
    /^error DATA_INCONSISTENT: Cannot vouch for the rows in http.*: 1 thing is wrong, none was wanted\n$/,
  );
});

test('labelRows() writes labels that a pull joins, the last ones of a row, and writes the same file once', async () => {
  await using rig = await openRig();
  const { inputs, blobs, cwd, container, scope, signal } = rig;
  await uploadRows(blobs, {
    ...inputs,
    firstSeq: 1,
    requests: [
      request(1, [
        [1, 2],
        [3, 4],
      ]),
      request(2, [[5, 6]]),
    ],
  });
  const file = join(cwd, 'labels.csv');
  const label = (nowMs: number) =>
    labelRows(container, {
      scope,
      service: 'digits',
      model: 'digits',
      version: 7,
      file,
      nowMs,
      signal,
      onProgress: () => {},
    });
  await writeFile(file, 'correlation_id,digit,note\nc1,7,"a ""b"""\nc1,8,\nc2,9,first\nnobody,1,\n');
  const monday = Date.UTC(2026, 10, 23);
  expect(await label(monday)).toEqual({ rows: 4, columns: ['digit', 'note'], blobs: 1 });
  expect(await label(monday + 86_400_000)).toEqual({ rows: 4, columns: ['digit', 'note'], blobs: 0 });
  await writeFile(file, 'correlation_id,digit,note\nc2,0,corrected\n');
  expect(await label(monday + 3_600_000)).toMatchObject({ rows: 1, blobs: 1 });
  const { stdout } = await runFerry(
    ['data', 'pull', '--service', 'digits', '--out', 'rows.csv', '--json', '--to', '2026-11-22'],
    { cwd },
  );
  expect(JSON.parse(stdout)).toMatchObject({ inputs: 3, labels: 0, labelled: 3, rows: 3 });
  const lines = (await readFile(join(cwd, 'rows.csv'), 'utf8')).trimEnd().split('\n');
  expect(lines.map((line) => line.split(',').slice(6).join(','))).toEqual([
    'inputs.x_0,inputs.x_1,labels.digit,labels.note',
    '1,2,7,"a ""b"""',
    '3,4,8,',
    '5,6,0,corrected',
  ]);
  const whole = await runFerry(['data', 'pull', '--service', 'digits', '--out', 'rows.csv', '--json'], { cwd });
  expect(JSON.parse(whole.stdout)).toMatchObject({
    labels: 5,
    labelled: 3,
    superseded: 1,
    rows: 4,
    missing: 0,
    unchecked: 0,
  });
  expect(await rig.verify()).toMatchObject({ findings: [] });
});

test.each([
  ['', /it is empty/],
  ['id,label\n1,2\n', /its columns are "id", "label"/],
  ['correlation_id\nc1\n', /it has no label/],
  ['correlation_id,a,a\nc1,1,2\n', /a column has no name of its own/],
  ['correlation_id,a\n,1\n', /a row has no correlation id/],
  ['correlation_id,a\nc1\n', /Invalid Record Length/],
])('ferry data label refuses %j', async (content, message) => {
  await using rig = await openRig();
  await writeFile(join(rig.cwd, 'labels.csv'), content);
  const { code, stderr } = await runFerry(['data', 'label', 'labels.csv', '--service', 'digits', '--model', 'm'], rig);
  expect(code).toBe(1);
  expect(stderr).toMatch(message);
  expect(stderr).toMatch(/^error FILE_UNREADABLE: Cannot read the labels "labels.csv": /);
});

test('ferry data label says that a file is not there, and which service is not known', async () => {
  await using rig = await openRig();
  const absent = await runFerry(['data', 'label', 'no.csv', '--service', 'digits', '--model', 'm:2'], rig);
  expect(absent.stderr).toMatch(/^error FILE_NOT_FOUND: /);
  const unknown = await runFerry(['data', 'label', 'no.csv', '--service', 'digits'], rig);
  expect(unknown.stderr).toMatch(/^error SERVICE_NOT_FOUND: /);
});

test('dataStatus() puts what devices report beside what storage holds', async () => {
  await using rig = await openRig();
  const { inputs, blobs, container, scope, signal } = rig;
  await uploadRows(blobs, {
    ...inputs,
    firstSeq: 1,
    requests: [
      request(1, [
        [1, 2],
        [3, 4],
      ]),
    ],
  });
  await uploadRows(blobs, {
    ...inputs,
    folder: `${scope}/digits/digits/1`,
    bufferId: 'b2',
    firstSeq: 1,
    requests: [request(3, [[5, 6]])],
  });
  const stream = { service: 'digits', model: 'digits', version: 1, designation: 'inputs' };
  const ledger = { collected: 9, uploaded: 2, buffered: 4, quarantined: 1, dropped: { evicted: 2 } };
  const twin = (deviceId: string, collection: unknown) => ({
    deviceId,
    tags: {},
    properties: { desired: {}, reported: { collection } },
  });
  const twins = [
    twin('gw-1', { digits: { bufferedBytes: 100, damaged: 0, streams: { 0: { ...stream, ...ledger } } } }),
    twin('gw-2', { digits: { bufferedBytes: 100, streams: { 0: { ...stream, ...ledger, designation: 'labels' } } } }),
    twin('gw-3', 'nonsense'),
  ];
  const streams = await dataStatus(container, { scope, filter: {}, twins, signal });
  expect(streams).toEqual([
    { device: undefined, ...stream, ledger: undefined, stored: expect.objectContaining({ blobs: 1, rows: 1 }) },
    { device: 'gw-1', ...stream, ledger, stored: expect.objectContaining({ blobs: 1, rows: 2, last: '2026-11-22' }) },
    {
      device: 'gw-2',
      ...stream,
      designation: 'labels',
      ledger,
      stored: { blobs: 0, rows: 0, bytes: 0, last: undefined },
    },
  ]);
  const filtered = await dataStatus(container, { scope, filter: { device: 'gw-2' }, twins, signal });
  expect(filtered).toHaveLength(1);
});
