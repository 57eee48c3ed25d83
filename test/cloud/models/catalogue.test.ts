import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { insertImage } from '../../../cloud/images/image.ts';
import { downloadModel } from '../../../cloud/models/download.ts';
import { updateLabels } from '../../../cloud/models/label-store.ts';
import { findModel, listModels } from '../../../cloud/models/model.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { removeModel } from '../../../cloud/models/remove.ts';
import { systemClock } from '../../../shared/clock.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { runFerry } from '../../ferry.ts';
import { digitsFile, logisticFile, type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';

test('listModels() finds models by name, tag, property and latest version', async () => {
  await using rig = await catalogueRig();
  const list = (filter: Parameters<typeof listModels>[1]): string[] =>
    listModels(rig.workspace.database, filter).map(({ name, version }) => `${name}:${version}`);
  expect(list({})).toEqual(['digits:2', 'digits:1', 'other:1']);
  expect(list({ name: 'digits' })).toEqual(['digits:2', 'digits:1']);
  expect(list({ latest: true })).toEqual(['digits:2', 'other:1']);
  expect(list({ tags: [{ key: 'area' }] })).toEqual(['digits:2', 'digits:1']);
  expect(list({ tags: [{ key: 'area', value: 'a,b=c' }] })).toEqual(['digits:2']);
  expect(list({ tags: [{ key: 'area' }, { key: 'stage', value: '' }] })).toEqual(['digits:1']);
  expect(list({ properties: [{ key: 'git.commit', value: 'abc' }] })).toEqual(['other:1']);
  expect(list({ tags: [{ key: "x' OR 1=1" }] })).toEqual([]);
});

test('updateLabels() changes tags and the time of the change, and nothing when it refuses', async () => {
  await using rig = await catalogueRig();
  const { database } = rig.workspace;
  const clock = { ...systemClock, nowMs: () => 0 };
  const find = () => findModel(database, { name: 'other' });
  const update = { table: 'models', find, clock } as const;
  const after = updateLabels(database, { ...update, change: { addTags: { a: '1' } } });
  expect(after).toMatchObject({ tags: { a: '1' }, modifiedAt: '1970-01-01T00:00:00.000Z' });
  const refused = { addTags: { b: '2' }, addProperties: { 'git.commit': 'def' } };
  expect(() => updateLabels(database, { ...update, change: refused })).toThrow('"git.commit" is "abc" and stays so');
  expect(find()).toEqual(after);
});

test('of tags that several processes add at once none is lost', async () => {
  await using rig = await catalogueRig();
  const keys = ['a', 'b', 'c', 'd', 'e'];
  const runs = await Promise.all(
    keys.map((key) => runFerry(['model', 'update', 'other:1', '--add-tag', `${key}=1`], { cwd: rig.folder })),
  );
  expect(runs.map(({ stderr }) => stderr)).toEqual(keys.map(() => ''));
  expect(Object.keys(findModel(rig.workspace.database, { name: 'other' }).tags).sort()).toEqual(keys);
});

test('downloadModel() writes the file as it was registered', async () => {
  await using rig = await catalogueRig();
  const model = findModel(rig.workspace.database, { name: 'digits' });
  const target = join(rig.folder, 'a/b');
  const paths = await downloadModel(rig.workspace, model, { target });
  expect(paths).toEqual([join(target, 'digits-mlp.onnx')]);
  expect(await readdir(target)).toEqual(['digits-mlp.onnx']);
  expect(await readFile(join(target, 'digits-mlp.onnx'))).toEqual(await readFile(digitsFile));
});

test('downloadModel() replaces files only when it may', async () => {
  await using rig = await catalogueRig();
  const model = findModel(rig.workspace.database, { name: 'digits' });
  const file = join(rig.folder, 'digits-mlp.onnx');
  await writeFile(file, 'mine');
  await expect(downloadModel(rig.workspace, model, { target: rig.folder })).rejects.toMatchObject({
    code: 'FILE_EXISTS',
    message: `Cannot download "digits:2": ${file} is there already`,
  });
  expect(await readFile(file, 'utf8')).toBe('mine');
  await downloadModel(rig.workspace, model, { target: rig.folder, overwrite: true });
  expect(await readFile(file)).toEqual(await readFile(digitsFile));
});

test('downloadModel() writes nothing of a layer that is damaged', async () => {
  await using rig = await catalogueRig();
  const model = findModel(rig.workspace.database, { name: 'digits' });
  const layout = await LayoutStore.open(rig.workspace.layoutFolder);
  const bytes = await readFile(layout.blobPath(model.digest));
  bytes.write('damaged', bytes.length - 20_000);
  await writeFile(layout.blobPath(model.digest), bytes);
  const target = join(rig.folder, 'target');
  await expect(downloadModel(rig.workspace, model, { target })).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  expect(await readdir(target)).toEqual([]);
});

test('removeModel() deletes a version, keeps the others, and never gives its number again', async () => {
  await using rig = await catalogueRig();
  await removeModel(rig.workspace, { name: 'digits', version: 2 });
  expect(() => findModel(rig.workspace.database, { name: 'digits', version: 2 })).toThrow('there is version 1');
  const layout = await LayoutStore.open(rig.workspace.layoutFolder);
  expect(await layout.tags('models/digits')).toEqual(['1']);
  const next = await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  expect(next.version).toBe(3);
});

test('removeModel() keeps the artifact that another version shares', async () => {
  await using rig = await catalogueRig();
  const third = await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  await removeModel(rig.workspace, { name: 'digits', version: 2 });
  const layout = await LayoutStore.open(rig.workspace.layoutFolder);
  expect((await layout.resolve('models/digits', '3'))?.digest).toBe(third.artifactDigest);
});

test('removeModel() refuses while images use the model, and names them', async () => {
  await using rig = await catalogueRig();
  for (const version of [1, 2]) addImageRow(rig, version);
  await expect(removeModel(rig.workspace, { name: 'digits', version: 1 })).rejects.toMatchObject({
    code: 'IN_USE',
    message: 'Cannot delete the model "digits:1": it is used by the images scorer:1, scorer:2',
  });
  expect(findModel(rig.workspace.database, { name: 'digits', version: 1 }).version).toBe(1);
});

/** A workspace with the models `digits:1`, `digits:2` and `other:1`. */
async function catalogueRig(): Promise<WorkspaceRig> {
  const rig = await workspaceRig();
  const { workspace } = rig;
  await registerModel(workspace, { path: logisticFile, name: 'digits', tags: { area: 'x', stage: '' } });
  await registerModel(workspace, { path: digitsFile, name: 'digits', tags: { area: 'a,b=c' } });
  await registerModel(workspace, { path: logisticFile, name: 'other', properties: { 'git.commit': 'abc' } });
  return rig;
}

/** Inserts an image of `digits:1` without building one. */
function addImageRow({ workspace }: WorkspaceRig, version: number): void {
  const image = {
    name: 'scorer',
    version,
    digest: `sha256:${'0'.repeat(64)}`,
    sbom: `sha256:${'0'.repeat(64)}`,
    platform: 'linux/amd64',
    flavor: 'web',
    script: null,
    layers: [],
    models: [],
    description: '',
    tags: {},
    properties: {},
    createdAt: '1970-01-01T00:00:00.000Z',
    modifiedAt: '1970-01-01T00:00:00.000Z',
  } as const;
  insertImage(workspace.database, image, [{ name: 'digits', version: 1 }]);
}
