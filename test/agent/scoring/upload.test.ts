import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ContainerSASPermissions, type ContainerClient } from '@azure/storage-blob';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { grantWriting } from '../../../cloud/azure/write-grant.ts';
import { pullData, type PullReport } from '../../../cloud/data/pull.ts';
import { verifyData } from '../../../cloud/data/verify.ts';
import { type Azurite, startAzurite } from '../../cloud/data/azurite.ts';
import { until } from '../../until.ts';
import { startProgram, writeServerModules } from './scoring-program.ts';
import { makeRoot, readDigits } from './scoring-rig.ts';

let azurite: Azurite;
beforeAll(async () => {
  azurite = await startAzurite();
});
afterAll(() => azurite[Symbol.asyncDispose]());

/** An image's root, an empty container, and a file for its signature. */
async function openRig() {
  await using stack = new AsyncDisposableStack();
  const { folder, blobs, container, workspace } = stack.use(await azurite.newWorkspace());
  await makeRoot(folder, { only: ['digits'] });
  const { scope } = workspace;
  for (const replica of ['one', 'two']) await mkdir(join(folder, replica));
  const sasFile = join(folder, 'sas.txt');
  const { pixels } = await readDigits();
  const signal = AbortSignal.timeout(50_000);
  const keep = stack.move();
  return {
    blobs,
    folder,
    sasFile,
    grant: () => grantWriting(workspace, { days: 1, nowMs: Date.now(), signal }),
    /** Puts a signature where the server finds it, in one step as a secret's volume does. */
    give: async (url: string) => {
      await writeFile(`${sasFile}.new`, `${url}\n`);
      await rename(`${sasFile}.new`, sasFile);
    },
    environment: (replica: string): NodeJS.ProcessEnv => ({
      AML_MODEL_DC_STORAGE_ENABLED: 'true',
      MODELFERRY_DATA_DIR: join(folder, replica),
      MODELFERRY_WORKSPACE: scope,
      SERVICE_NAME: 'digits',
      MODELFERRY_UPLOAD_SAS_FILE: sasFile,
      MODELFERRY_UPLOAD_EVERY_MS: '50',
    }),
    /** Scores so many single rows. */
    score: async (url: string, rows: number) => {
      for (const row of pixels.slice(0, rows)) {
        const response = await fetch(`${url}/score`, { method: 'POST', body: JSON.stringify({ pixels: [row] }) });
        if (!response.ok) throw new Error(await response.text());
      }
    },
    pull: (): Promise<PullReport> =>
      pullData(container, {
        scope,
        filter: {},
        out: join(folder, 'rows.csv'),
        skipDamaged: false,
        signal,
        onProgress: () => {},
      }),
    verify: () => verifyData(container, { scope, filter: {}, content: true, signal, onProgress: () => {} }),
    [Symbol.asyncDispose]: () => keep.disposeAsync(),
  };
}

async function expiredUrl(blobs: ContainerClient): Promise<string> {
  const permissions = ContainerSASPermissions.parse('cw');
  return await blobs.generateSasUrl({ permissions, expiresOn: new Date(Date.now() - 60_000) });
}

const ledgerOf = (rig: { readonly folder: string }, replica: string) =>
  readLedger(join(rig.folder, replica, 'collect.db')).streams;

function isUploaded(rig: { readonly folder: string }, replica: string, rows: number): boolean {
  const streams = ledgerOf(rig, replica);
  return streams.length === 2 && streams.every(({ uploaded }) => uploaded === rows);
}

test('a grant lets its holder write a blob, and write it again, and nothing else', async () => {
  await using rig = await openRig();
  const [container = '', query] = (await rig.grant()).url.split('?');
  const ask = async (method: string, path: string, more = ''): Promise<number> => {
    const headers = method === 'PUT' ? { 'x-ms-blob-type': 'BlockBlob' } : {};
    const body = method === 'PUT' ? { body: 'x' } : {};
    return (await fetch(`${container}${path}?${query}${more}`, { method, headers, ...body })).status;
  };
  expect(await ask('PUT', '/a')).toBe(201);
  expect(await ask('PUT', '/a')).toBe(201);
  expect(await ask('GET', '/a')).toBe(403);
  expect(await ask('HEAD', '/a')).toBe(403);
  expect(await ask('DELETE', '/a')).toBe(403);
  expect(await ask('GET', '', '&restype=container&comp=list')).toBe(403);
  expect(await ask('DELETE', '', '&restype=container')).toBe(403);
});

test('rows stay in the buffer while the signature has expired, and a new one is taken up without a restart', async () => {
  await using rig = await openRig();
  await rig.give(await expiredUrl(rig.blobs));
  await using program = startProgram(rig.folder, rig.environment('one'));
  const url = await program.url();
  await rig.score(url, 20);
  await until(
    () =>
      program.lines().some(({ msg, code }) => msg === 'collected rows stay in the buffer' && code === 'STORAGE_DENIED'),
    { what: 'the refusal', timeoutMs: 20_000 },
  );
  expect(ledgerOf(rig, 'one')).toMatchObject([
    { collected: 20, uploaded: 0, buffered: 20, quarantined: 0 },
    { collected: 20, uploaded: 0, buffered: 20, quarantined: 0 },
  ]);
  await rig.give((await rig.grant()).url);
  await until(() => isUploaded(rig, 'one', 20), {
    what: 'the upload',
    timeoutMs: 20_000,
  });
  await rig.score(url, 5);
  program.process.kill('SIGTERM');
  expect(await program.exitCode()).toBe(0);
  expect(ledgerOf(rig, 'one')).toMatchObject([
    { uploaded: 25, buffered: 0 },
    { uploaded: 25, buffered: 0 },
  ]);
  expect(await rig.pull()).toMatchObject({
    inputs: 25,
    predictions: 25,
    joined: 25,
    missing: 0,
    doubled: 0,
    findings: [],
  });
  expect(JSON.stringify(program.lines())).not.toContain('sig=');
});

test('replicas with one signature never write the same blob, whatever their formats and folders', async () => {
  await using rig = await openRig();
  await rig.give((await rig.grant()).url);
  await using one = startProgram(rig.folder, rig.environment('one'));
  await using two = startProgram(rig.folder, {
    ...rig.environment('two'),
    MODELFERRY_COLLECT_FORMAT: 'parquet',
    AML_MODEL_DC_BOUNDARY: 'hour',
  });
  await Promise.all([rig.score(await one.url(), 30), rig.score(await two.url(), 30)]);
  for (const replica of ['one', 'two']) {
    await until(() => isUploaded(rig, replica, 30), { what: 'the upload', timeoutMs: 20_000 });
  }
  for (const program of [one, two]) {
    program.process.kill('SIGTERM');
    expect(await program.exitCode()).toBe(0);
  }
  expect(await rig.verify()).toMatchObject({ rows: 120, missing: 0, doubled: 0, unchecked: 0, findings: [] });
  expect(await rig.pull()).toMatchObject({ inputs: 60, predictions: 60, joined: 60 });
});

test('an image’s own modules upload as their sources do', async () => {
  await using rig = await openRig();
  await rig.give((await rig.grant()).url);
  const entry = await writeServerModules(rig.folder);
  const environment = { ...rig.environment('one'), MODELFERRY_COLLECT_FORMAT: 'parquet' };
  await using program = startProgram(rig.folder, environment, { entry });
  await rig.score(await program.url(), 3);
  await until(() => isUploaded(rig, 'one', 3), {
    what: 'the upload',
    timeoutMs: 20_000,
  });
  program.process.kill('SIGTERM');
  expect(await program.exitCode()).toBe(0);
  expect(await rig.verify()).toMatchObject({ rows: 6, unchecked: 0, findings: [] });
});

test('the program refuses settings of an upload that contradict each other', async () => {
  await using rig = await openRig();
  const both = { ...rig.environment('one'), MODELFERRY_UPLOAD_CONTAINER: 'https://account/modeldata' };
  await using program = startProgram(rig.folder, both);
  expect(await program.exitCode()).toBe(3);
  await using off = startProgram(rig.folder, { MODELFERRY_UPLOAD_SAS_FILE: rig.sasFile });
  expect(await off.exitCode()).toBe(3);
  expect(off.lines()).toMatchObject([
    { code: 'USAGE', msg: expect.stringContaining('collection was wanted to be on') },
  ]);
});
