import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DataContainer } from '../../../cloud/azure/data-container.ts';
import type { DataFilter } from '../../../cloud/data/blob-path.ts';
import { pullData, type PullReport } from '../../../cloud/data/pull.ts';
import type { Workspace } from '../../../cloud/workspace/workspace.ts';
import { type Azurite, connectionStringOf, startAzurite, uploadRows } from './azurite.ts';

const scope = '00000000-0000-0000-0000-000000000000/local/lab';
const edgeFolder = `gw-1/${scope}/digits/digits/1`;
const cloudFolder = `${scope}/digits/digits/1`;

let azurite: Azurite;
beforeAll(async () => {
  azurite = await startAzurite();
});
afterAll(() => azurite[Symbol.asyncDispose]());

/** A workspace whose storage is an empty container. */
async function openRig() {
  const data = await azurite.newWorkspace();
  const out = join(data.folder, 'rows.csv');
  return {
    ...data,
    out,
    pull: (
      filter: DataFilter = { service: 'digits' },
      skipDamaged = false,
      from = data.container,
    ): Promise<PullReport> =>
      pullData(from, {
        scope,
        filter,
        out,
        skipDamaged,
        signal: AbortSignal.timeout(20_000),
        onProgress: () => {},
      }),
    lines: async () => (await readFile(out, 'utf8')).trimEnd().split('\n'),
    /** What is in the folder beside the workspace. */
    files: async () => (await readdir(data.folder)).filter((name) => name !== '.ferry'),
  };
}

async function setStorage(workspace: Workspace, container: string, storageConnectionString: string): Promise<void> {
  const { blobEndpoint } = azurite;
  await workspace.setEndpoints({ storage: { blobEndpoint, container } }, { storageConnectionString });
}

const request = (id: number, rows: (string | number)[][]) => ({ correlationId: `c${id}`, requestId: `r${id}`, rows });
const inputs = { designation: 'inputs', bufferId: 'b1', features: ['x_0', 'x_1'] } as const;
const predictions = { designation: 'predictions', bufferId: 'b1', features: ['label'] } as const;
const nothingWrong = { missing: 0, doubled: 0, skipped: 0, unchecked: 0, findings: [] };

test('pullData() joins inputs and predictions of devices and of the cloud by request and place', async () => {
  await using rig = await openRig();
  await uploadRows(rig.blobs, {
    ...inputs,
    folder: edgeFolder,
    firstSeq: 1,
    requests: [
      request(1, [
        [1, 2],
        [3, 4],
      ]),
    ],
  });
  await uploadRows(rig.blobs, { ...inputs, folder: edgeFolder, firstSeq: 3, requests: [request(2, [[5, 6]])] });
  await uploadRows(rig.blobs, {
    ...predictions,
    folder: edgeFolder,
    firstSeq: 1,
    requests: [request(1, [[7], [8]]), request(2, [[9]])],
  });
  await uploadRows(rig.blobs, {
    ...inputs,
    bufferId: 'b2',
    folder: cloudFolder,
    firstSeq: 1,
    requests: [request(3, [[10, 11]])],
  });
  await uploadRows(rig.blobs, {
    ...predictions,
    bufferId: 'b2',
    folder: cloudFolder,
    firstSeq: 1,
    requests: [request(3, [[12]])],
  });
  expect(await rig.pull()).toMatchObject({ ...nothingWrong, inputs: 4, predictions: 4, joined: 4, rows: 4, blobs: 5 });
  expect(await rig.lines()).toEqual([
    'correlation_id,request_id,timestamp,service,model,version,inputs.x_0,inputs.x_1,predictions.label',
    'c1,r1,2026-11-22T10:00:00.000000+00:00,digits,digits,1,1,2,7',
    'c1,r1,2026-11-22T10:00:00.000000+00:00,digits,digits,1,3,4,8',
    'c2,r2,2026-11-22T10:00:00.000000+00:00,digits,digits,1,5,6,9',
    'c3,r3,2026-11-22T10:00:00.000000+00:00,digits,digits,1,10,11,12',
  ]);
  expect(await rig.files()).toEqual(['rows.csv']);
});

test('pullData() puts labels beside the rows of their correlation id, and keeps those that belong to none', async () => {
  await using rig = await openRig();
  await uploadRows(rig.blobs, {
    ...inputs,
    folder: edgeFolder,
    firstSeq: 1,
    requests: [request(1, [[1, 2]]), request(2, [[3, 4]])],
  });
  await uploadRows(rig.blobs, {
    ...predictions,
    folder: edgeFolder,
    firstSeq: 1,
    requests: [request(1, [[5]]), request(2, [[6]])],
  });
  const labels = [{ ...request(2, [['"a,""b"""']]), requestId: 'later' }, request(9, [['lost']])];
  await uploadRows(rig.blobs, {
    ...predictions,
    designation: 'labels',
    folder: edgeFolder,
    firstSeq: 1,
    requests: labels,
  });
  expect(await rig.pull()).toMatchObject({ inputs: 2, predictions: 2, labels: 2, joined: 2, labelled: 1, rows: 3 });
  expect((await rig.lines()).map((line) => line.split('digits,digits,1,').at(-1))).toEqual([
    'correlation_id,request_id,timestamp,service,model,version,inputs.x_0,inputs.x_1,predictions.label,labels.label',
    '1,2,5,',
    '3,4,6,"a,""b"""',
    ',,,lost',
  ]);
});

test('pullData() never joins rows of a request whose numbers differ', async () => {
  await using rig = await openRig();
  await uploadRows(rig.blobs, {
    ...inputs,
    folder: edgeFolder,
    firstSeq: 1,
    requests: [
      request(1, [
        [1, 2],
        [3, 4],
      ]),
    ],
  });
  await uploadRows(rig.blobs, { ...predictions, folder: edgeFolder, firstSeq: 2, requests: [request(1, [[8]])] });
  const report = await rig.pull();
  expect(report).toMatchObject({ inputs: 2, predictions: 1, joined: 0, rows: 3, missing: 1 });
  expect(report.findings).toEqual([expect.stringContaining('rows 1 to 1 before')]);
});

test('pullData() lays different feature sets out under all their names', async () => {
  await using rig = await openRig();
  await uploadRows(rig.blobs, { ...inputs, folder: edgeFolder, firstSeq: 1, requests: [request(1, [[1, 2]])] });
  await uploadRows(rig.blobs, {
    ...inputs,
    folder: edgeFolder,
    firstSeq: 2,
    features: ['y', 'x_1'],
    requests: [request(2, [[3, 4]])],
  });
  await rig.pull();
  expect((await rig.lines()).map((line) => line.split(',').slice(6))).toEqual([
    ['inputs.x_0', 'inputs.x_1', 'inputs.y'],
    ['1', '2', ''],
    ['', '4', '3'],
  ]);
});

test('pullData() refuses overlapping ranges, and leaves the second one out when told to', async () => {
  await using rig = await openRig();
  await uploadRows(rig.blobs, {
    ...inputs,
    folder: edgeFolder,
    firstSeq: 1,
    requests: [
      request(1, [
        [1, 2],
        [3, 4],
      ]),
    ],
  });
  await uploadRows(rig.blobs, {
    ...inputs,
    folder: edgeFolder,
    firstSeq: 2,
    requests: [
      request(1, [
        [3, 4],
        [5, 6],
      ]),
    ],
  });
  await expect(rig.pull()).rejects.toMatchObject({
    code: 'DATA_INCONSISTENT',
    message: expect.stringMatching(/1 rows of ".*-2-3\.csv" are in ".*-1-2\.csv" too/),
  });
  // What was read stays for the next call.
  expect(await rig.files()).toEqual(['rows.csv.pull']);
  expect(await rig.pull({ service: 'digits' }, true)).toMatchObject({
    inputs: 2,
    doubled: 1,
    skipped: 1,
    resumed: 1,
  });
  expect(await rig.files()).toEqual(['rows.csv']);
});

test('pullData() refuses blobs that are not what their metadata says, and names each', async () => {
  await using rig = await openRig();
  const blob = {
    ...inputs,
    folder: edgeFolder,
    requests: [
      request(1, [
        [1, 2],
        [3, 4],
      ]),
    ],
  };
  await uploadRows(rig.blobs, { ...blob, firstSeq: 1, metadata: { rows: '1' } });
  await uploadRows(rig.blobs, { ...blob, firstSeq: 3, metadata: { sha256: '0'.repeat(64) } });
  await uploadRows(rig.blobs, { ...blob, firstSeq: 5, metadata: { rows: '9' } });
  const refusal = await rig.pull().catch((error: unknown) => error);
  expect(refusal).toMatchObject({ code: 'DATA_INCONSISTENT' });
  expect(String(refusal)).toMatch(/holds 2 rows, 1, as its metadata says/);
  expect(String(refusal)).toMatch(/-3-4\.csv": its content has another digest/);
  expect(String(refusal)).toMatch(/-5-6\.csv" says that it holds 9 rows/);
  expect(await rig.files()).toEqual([]);
});

test('pullData() takes blobs without metadata, and says that they could not be checked', async () => {
  await using rig = await openRig();
  const name = `${cloudFolder}/inputs/2026/11/22/inputs.csv`;
  const content = 'x,$aml_dc_correlation_id\r\n1,c1\r\n';
  await rig.blobs.getBlockBlobClient(name).upload(content, content.length);
  expect(await rig.pull()).toMatchObject({ inputs: 1, blobs: 1, unchecked: 1 });
});

test('pullData() counts a gap only beside the days that are meant', async () => {
  await using rig = await openRig();
  const blob = { ...inputs, folder: edgeFolder };
  await uploadRows(rig.blobs, { ...blob, date: '2026/11/20', firstSeq: 3, requests: [request(1, [[1, 2]])] });
  await uploadRows(rig.blobs, { ...blob, date: '2026/11/21', firstSeq: 4, requests: [request(2, [[1, 2]])] });
  await uploadRows(rig.blobs, { ...blob, date: '2026/11/22', firstSeq: 6, requests: [request(3, [[1, 2]])] });
  expect(await rig.pull()).toMatchObject({ inputs: 3, missing: 3 });
  expect(
    await rig.pull({ service: 'digits', fromMs: Date.UTC(2026, 10, 21), beforeMs: Date.UTC(2026, 10, 22) }),
  ).toMatchObject({
    inputs: 1,
    missing: 1,
  });
  expect(await rig.pull({ service: 'digits', beforeMs: Date.UTC(2026, 10, 21) })).toMatchObject({
    inputs: 1,
    missing: 2,
  });
});

test('pullData() leaves the file that is there alone when storage does not answer', async () => {
  await using rig = await openRig();
  await writeFile(rig.out, 'before');
  // Nothing listens on port 1.
  await setStorage(rig.workspace, 'modeldata', connectionStringOf('http://127.0.0.1:1/devstoreaccount1'));
  const unreachable = await DataContainer.open(rig.workspace);
  await expect(rig.pull({}, false, unreachable)).rejects.toMatchObject({
    code: 'STORAGE_UNREACHABLE',
    message: expect.stringContaining('http://127.0.0.1:1/devstoreaccount1/modeldata (ECONNREFUSED)'),
  });
  expect(await rig.lines()).toEqual(['before']);
  expect(await rig.files()).toEqual(['rows.csv']);
});

test('pullData() says what storage refuses, without the key', async () => {
  await using rig = await openRig();
  const wrongKey = Buffer.from('wrong').toString('base64');
  await setStorage(rig.workspace, rig.blobs.containerName, connectionStringOf(azurite.blobEndpoint, wrongKey));
  const container = await DataContainer.open(rig.workspace);
  const refusal = await rig.pull({}, false, container).catch((error: unknown) => error);
  expect(refusal).toMatchObject({
    code: 'STORAGE_REFUSED',
    message: expect.stringMatching(/answered 403 AuthorizationFailure/),
  });
  expect(JSON.stringify(refusal)).not.toContain(wrongKey);
});

test('pullData() says when the container is not there, and when the folder of the file is not', async () => {
  await using rig = await openRig();
  await rig.blobs.delete();
  await expect(rig.pull()).rejects.toMatchObject({
    code: 'STORAGE_REFUSED',
    message: expect.stringContaining('404 ContainerNotFound'),
  });
  await rig.blobs.create();
  const options = { scope, filter: {}, out: join(rig.folder, 'none', 'rows.csv'), skipDamaged: false };
  const pull = pullData(rig.container, { ...options, signal: AbortSignal.timeout(20_000), onProgress: () => {} });
  await expect(pull).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' });
});

test('pullData() leaves nothing behind when it is interrupted', async () => {
  await using rig = await openRig();
  await uploadRows(rig.blobs, { ...inputs, folder: edgeFolder, firstSeq: 1, requests: [request(1, [[1, 2]])] });
  const interruption = new AbortController();
  const reason = new Error('interrupted');
  const onProgress = (): void => interruption.abort(reason);
  const options = { scope, filter: {}, out: rig.out, skipDamaged: false, signal: interruption.signal, onProgress };
  await expect(pullData(rig.container, options)).rejects.toBe(reason);
  expect(await rig.files()).toEqual([]);
});
