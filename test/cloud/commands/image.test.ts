import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createImage } from '../../../cloud/images/create.ts';
import { listImages } from '../../../cloud/images/image.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { type FerryRun, runFerry } from '../../ferry.ts';
import { killedFerry } from '../killed-ferry.ts';
import { digitsFile, workspaceRig } from '../workspace-rig.ts';

const onLinux = process.platform === 'linux';

test.runIf(onLinux)('ferry image create, show, list, update, export and delete work as a user types them', async () => {
  await using rig = await workspaceRig();
  await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const ferry = (...args: string[]): Promise<FerryRun> => runFerry(['image', ...args], { cwd: rig.folder });
  const made = await ferry('create', '--model', 'digits:1', '--tag', 'stage=test', '--json');
  expect(made).toMatchObject({ code: 0, stderr: '' });
  const document = JSON.parse(made.stdout) as { digest: string };
  expect(document).toMatchObject({
    id: 'digits:1',
    reference: `digits@${document.digest}`,
    models: ['digits:1'],
    registered: [],
    created: true,
    bytesBuilt: expect.any(Number),
    push: null,
  });
  expect((await ferry('create', '--model', 'digits')).stdout).toContain(
    'Nothing to build, the latest version has this content.',
  );

  const shown = await ferry('show', 'digits');
  expect(shown.stdout).toMatch(/^image +digits:1\n/);
  expect(shown.stdout).toMatch(/\nbase +\d+ MB +Node and its libraries +sha256:[0-9a-f]{64}\n/);
  expect(shown.stdout).toMatch(/\nonnxruntime-node +[\d.]+ +MIT +engine\n/);
  expect((await ferry('list', '--model', 'digits', '--tag', 'stage')).stdout).toContain('digits:1');
  expect((await ferry('list', '--digest', document.digest, '--json')).stdout).toContain(document.digest);
  expect((await ferry('list', '--model', 'digits:2', '--json')).stdout).toBe('[]\n');
  expect((await ferry('update', 'digits:1', '--remove-tag', 'stage', '--json')).stdout).toContain('"tags": {}');
  const model = await runFerry(['model', 'delete', 'digits:1'], { cwd: rig.folder });
  expect(model.stderr).toContain('it is used by the images digits:1');

  expect((await ferry('export', 'digits', '--output', 'digits.tar')).stdout).toMatch(
    /^Wrote \d+ MB to .*digits\.tar\.\n$/,
  );
  expect((await ferry('delete', 'digits:1')).stdout).toBe('Deleted digits:1.\n');
  expect(await (await LayoutStore.open(rig.workspace.layoutFolder)).repositories()).toEqual(['models/digits']);
});

test.runIf(onLinux)(
  'an image create that is killed at any moment leaves a workspace in which the next one succeeds',
  async () => {
    await using rig = await workspaceRig();
    await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
    for (let delayMs = 200; delayMs <= 1400; delayMs += 300) {
      await killedFerry(['image', 'create', '--model', 'digits'], { cwd: rig.folder, delayMs });
    }
    const { image } = await createImage(rig.workspace, { models: [{ name: 'digits' }] });
    expect(image.version).toBe(1);
    expect(listImages(rig.workspace.database)).toEqual([image]);
    const layout = await LayoutStore.open(rig.workspace.layoutFolder);
    expect((await layout.resolve('digits', '1'))?.digest).toBe(image.digest);
    expect(await readdir(join(rig.workspace.layoutFolder, '.ingest'))).toEqual([]);
  },
);

test('ferry image create refuses options that are outside of the rules', async () => {
  await using rig = await workspaceRig();
  const ferry = (...args: string[]): Promise<FerryRun> => runFerry(['image', 'create', ...args], { cwd: rig.folder });
  expect(await ferry()).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('neither a model nor a script was given'),
  });
  expect(await ferry('--model', 'digits:latest')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('a whole number from 1'),
  });
  expect(await ferry('--model', 'digits')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('error MODEL_NOT_FOUND: Cannot find the model "digits"'),
  });
});
