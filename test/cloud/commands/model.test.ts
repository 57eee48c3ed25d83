import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type FerryRun, runFerry } from '../../ferry.ts';
import { digitsFile, workspaceRig } from '../workspace-rig.ts';

test('ferry model register, show, list, update, download and delete work as a user types them', async () => {
  await using rig = await workspaceRig();
  const ferry = (...args: string[]): Promise<FerryRun> => runFerry(['model', ...args], { cwd: rig.folder });
  const row = Array.from({ length: 64 }, () => 0);
  await writeFile(join(rig.folder, 'sample.json'), JSON.stringify({ pixels: [row] }));
  const lineage = [
    '--framework',
    'ScikitLearn',
    '--run-id',
    'r-7',
    '--git-commit',
    '0123abc',
    '--dataset',
    'training=uci:1',
  ];
  const made = await ferry(
    'register',
    digitsFile,
    '--name',
    'digits',
    '--tag',
    'a=b=c',
    ...lineage,
    '--sample',
    'sample.json',
    '--json',
  );
  expect(made).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(made.stdout)).toMatchObject({
    id: 'digits:1',
    lineage: { framework: 'ScikitLearn', runId: 'r-7', gitCommit: '0123abc', datasets: { training: 'uci:1' } },
    sample: { input: { pixels: [row] }, output: { label: [expect.any(Number)] } },
    properties: { 'git.commit': '0123abc', 'run.id': 'r-7', 'dataset.training': 'uci:1' },
    tags: { a: 'b=c' },
    artifact: { repository: 'models/digits', tag: '1' },
  });

  expect((await ferry('update', 'digits', '--add-tag', 'stage=live', '--description', 'of UCI')).code).toBe(0);
  const shown = await ferry('show', 'digits:1');
  expect(shown.stdout).toMatch(/^model +digits:1\n/);
  expect(shown.stdout).toMatch(/\ntags +a=b=c, stage=live\n/);
  expect(shown.stdout).toMatch(/\ninputs +pixels float32\[batch, 64\]\n/);
  expect((await ferry('list', '--tag', 'stage=live', '--latest')).stdout).toContain('digits:1');
  expect((await ferry('list', '--tag', 'stage=test', '--json')).stdout).toBe('[]\n');

  expect((await ferry('download', 'digits', '--target', 'out')).stdout).toBe(
    `${join(rig.folder, 'out/digits-mlp.onnx')}\n`,
  );
  expect((await ferry('delete', 'digits')).stderr).toContain(
    'error NAME_INVALID: Cannot use "digits": it has no version',
  );
  expect((await ferry('delete', 'digits:1')).stdout).toBe('Deleted digits:1.\n');
  const gone = await ferry('show', 'digits');
  expect(gone).toMatchObject({ code: 1, stdout: '' });
  expect(gone.stderr).toBe(
    'error MODEL_NOT_FOUND: Cannot find the model "digits": no model has this name\nnext: See what there is with `ferry model list`.\n',
  );
});

test('ferry model register refuses options that are outside of the rules', async () => {
  await using rig = await workspaceRig();
  const ferry = (...args: string[]): Promise<FerryRun> =>
    runFerry(['model', 'register', digitsFile, '--name', 'd', ...args], { cwd: rig.folder });
  expect(await ferry('--framework', 'Caffe')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('ScikitLearn'),
  });
  expect(await ferry('--git-commit', 'main')).toMatchObject({ code: 2, stderr: expect.stringContaining('gitCommit') });
  expect(await ferry('--tag', '=x')).toMatchObject({ code: 2, stderr: expect.stringContaining('has no key') });
});
