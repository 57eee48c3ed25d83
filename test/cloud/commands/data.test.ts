import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runFerry } from '../../ferry.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { startAzurite, uploadRows } from '../data/azurite.ts';

test('ferry data list and pull', async () => {
  await using azurite = await startAzurite();
  await using data = await azurite.newWorkspace();
  const { folder: cwd, workspace, blobs: container } = data;
  expect(JSON.parse((await runFerry(['data', 'list', '--json'], { cwd })).stdout)).toEqual({ blobs: [] });
  const blob = { folder: `gw-1/${workspace.scope}/digits/digits/1`, bufferId: 'b1', firstSeq: 1, features: ['x'] };
  const requests = [{ correlationId: 'c1', requestId: 'r1', rows: [[1], [2]] }];
  const name = await uploadRows(container, { ...blob, designation: 'inputs', requests });
  await uploadRows(container, { ...blob, designation: 'predictions', requests });
  const listed = await runFerry(['data', 'list', '--designation', 'inputs', '--json'], { cwd });
  expect(JSON.parse(listed.stdout)).toMatchObject({
    blobs: [{ name, device: 'gw-1', service: 'digits', model: 'digits', version: 1, rows: 2, firstSeq: 1, lastSeq: 2 }],
  });
  const pulled = await runFerry(['data', 'pull', '--service', 'digits', '--out', 'rows.csv', '--json'], { cwd });
  expect(JSON.parse(pulled.stdout)).toMatchObject({
    inputs: 2,
    predictions: 2,
    joined: 2,
    blobs: 2,
    missing: 0,
    doubled: 0,
  });
  expect((await readFile(join(cwd, 'rows.csv'), 'utf8')).split('\n')).toHaveLength(4);
});

test.each([
  ['--from', '2026-02-30'],
  ['--version', '0'],
  ['--service', 'a/b'],
  ['--designation', 'rows'],
])('ferry data list %s %s is a usage error', async (flag, value) => {
  await using folder = await temporaryFolder();
  expect((await runFerry(['data', 'list', flag, value], { cwd: folder.path })).code).toBe(2);
});

test('ferry data says that a workspace has no storage', async () => {
  await using folder = await temporaryFolder();
  await runFerry(['workspace', 'init'], { cwd: folder.path });
  const { stderr } = await runFerry(['data', 'list'], { cwd: folder.path });
  expect(stderr).toMatch(/^error ENDPOINT_MISSING: .* no storage account\nnext: .*ferry up/);
});
