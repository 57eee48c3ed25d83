import { copyFile, mkdir, readdir, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { findRegistered } from '../../../cloud/models/find-registered.ts';
import { listModels } from '../../../cloud/models/model.ts';
import { registerModel, type Registration } from '../../../cloud/models/register.ts';
import { registerOnce } from '../../../cloud/models/register-once.ts';
import { message } from '../../../cloud/models/protobuf-message.ts';
import { lookAt } from '../../../cloud/models/file-look.ts';
import { settled, writeSettled } from '../settled-file.ts';
import { type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';
import { identityGraph, model, writeExternalModel } from './onnx-writer.ts';
import { zipMapModel } from './zipmap-model.ts';

test('registerOnce() registers a model, and neither reads nor registers it while its file looks the same', async () => {
  await using rig = await onceRig();
  expect(await rig.once()).toEqual({ id: 'm:1', registered: ['m:1'], packed: true });
  expect(await rig.once()).toEqual({ id: 'm:1', registered: [], packed: false });
});

test('registerOnce() knows what registerModel() registered, and that makes a new version all the same', async () => {
  await using rig = await onceRig();
  await registerModel(rig.workspace, rig.registration);
  await registerModel(rig.workspace, rig.registration);
  expect(await rig.once()).toEqual({ id: 'm:2', registered: [], packed: false });
});

test('registerOnce() makes no version of a file that was touched, and knows it then', async () => {
  await using rig = await onceRig();
  await rig.once();
  const before = await rig.blobs();
  const now = new Date();
  await utimes(rig.file, now, now);
  await settled(rig.file);
  expect(await findRegistered(rig.workspace, rig.registration)).toMatchObject({ name: 'm', version: 1 });
  expect(await rig.once()).toEqual({ id: 'm:1', registered: [], packed: true });
  expect(await rig.once()).toEqual({ id: 'm:1', registered: [], packed: false });
  expect(await rig.blobs()).toEqual(before);
  expect(await readdir(join(rig.workspace.layoutFolder, '.ingest'))).toEqual([]);
});

test('registerOnce() sees a change that left size and time of the file as they were', async () => {
  await using rig = await onceRig();
  await utimes(rig.file, 1_000, 1_000);
  await settled(rig.file);
  await rig.once();
  const before = await lookAt(rig.file);
  await writeFile(rig.file, modelOf(2));
  await utimes(rig.file, 1_000, 1_000);
  expect(await lookAt(rig.file)).toEqual({ ...before, statusNs: expect.any(String) });
  expect(await rig.once()).toEqual({ id: 'm:2', registered: ['m:2'], packed: true });
});

test('registerOnce() sees another file in place of the one that was registered', async () => {
  await using rig = await onceRig();
  await utimes(rig.file, 1_000, 1_000);
  await settled(rig.file);
  await rig.once();
  const other = join(rig.folder, 'other.onnx');
  await writeFile(other, modelOf(2));
  await utimes(other, 1_000, 1_000);
  await rename(other, rig.file);
  expect(await rig.once()).toEqual({ id: 'm:2', registered: ['m:2'], packed: true });
});

test('registerOnce() goes back to the bytes of an earlier version with a new one', async () => {
  await using rig = await onceRig();
  await rig.once();
  await writeSettled(rig.file, modelOf(2));
  await rig.once();
  await writeSettled(rig.file, modelOf(1));
  expect(await rig.once()).toEqual({ id: 'm:3', registered: ['m:3'], packed: true });
});

test('registerOnce() does not trust what was written when it was read', async () => {
  await using rig = await onceRig();
  const soon = new Date(Date.now() + 60_000);
  await utimes(rig.file, soon, soon);
  await rig.once();
  expect(await rig.once()).toEqual({ id: 'm:1', registered: [], packed: true });
});

test.each([null, '', '{"recipe":', '{"recipe":0}'])('registerOnce() takes the record %j as none', async (record) => {
  await using rig = await onceRig();
  await rig.once();
  rig.workspace.database.prepare('UPDATE models SET sources = ?').run(record);
  expect(await rig.once()).toEqual({ id: 'm:1', registered: [], packed: true });
  expect(await rig.once()).toEqual({ id: 'm:1', registered: [], packed: false });
});

test('registerOnce() makes no version of the same bytes at another path', async () => {
  await using rig = await onceRig();
  await rig.once();
  await mkdir(join(rig.folder, 'other'));
  const path = join(rig.folder, 'other', 'model.onnx');
  await copyFile(rig.file, path);
  await settled(path);
  expect(await rig.once({ path })).toEqual({ id: 'm:1', registered: [], packed: true });
  expect(await rig.once({ path })).toEqual({ id: 'm:1', registered: [], packed: false });
});

test('registerOnce() sees weights beside the file that were changed', async () => {
  await using rig = await onceRig();
  const folder = join(rig.folder, 'model');
  await writeExternalModel(folder);
  const weights = join(folder, 'weights/w.bin');
  await settled(weights);
  const path = join(folder, 'sum.onnx');
  expect(await rig.once({ path })).toMatchObject({ registered: ['m:1'] });
  expect(await rig.once({ path })).toEqual({ id: 'm:1', registered: [], packed: false });
  await writeSettled(weights, new Uint8Array(8));
  expect(await rig.once({ path })).toEqual({ id: 'm:2', registered: ['m:2'], packed: true });
});

test('registerOnce() sees files that came into a folder or left it, and another main file', async () => {
  await using rig = await onceRig();
  const path = join(rig.folder, 'model');
  await writeExternalModel(path);
  await settled(join(path, 'weights/w.bin'));
  await rig.once({ path });
  expect(await rig.once({ path })).toEqual({ id: 'm:1', registered: [], packed: false });
  await writeSettled(join(path, 'labels.txt'), 'a\nb\n');
  expect(await rig.once({ path })).toMatchObject({ registered: ['m:2'] });
  await rm(join(path, 'labels.txt'));
  expect(await rig.once({ path })).toMatchObject({ registered: ['m:3'] });
  await writeSettled(join(path, 'other.onnx'), modelOf(1));
  expect(await rig.once({ path, main: 'sum.onnx' })).toMatchObject({ registered: ['m:4'] });
  expect(await findRegistered(rig.workspace, { path, main: 'other.onnx', name: 'm' })).toBeUndefined();
  expect(await rig.once({ path, main: 'other.onnx' })).toMatchObject({ registered: ['m:5'] });
  expect(await rig.once({ path, main: 'other.onnx' })).toEqual({ id: 'm:5', registered: [], packed: false });
});

test('registerOnce() knows a model whose ZipMap was taken out by the file that was given', async () => {
  await using rig = await onceRig();
  const classifier = { labels: ['no', 'yes'], rows: 'n' };
  await writeSettled(rig.file, zipMapModel(classifier));
  await rig.once();
  expect(await rig.once()).toEqual({ id: 'm:1', registered: [], packed: false });
  await writeSettled(rig.file, zipMapModel(classifier));
  expect(await rig.once()).toEqual({ id: 'm:1', registered: [], packed: true });
  expect(await rig.once()).toEqual({ id: 'm:1', registered: [], packed: false });
});

test('registerOnce() makes a new version for another sample, and none where the same is written otherwise', async () => {
  await using rig = await onceRig();
  const sample = join(rig.folder, 'sample.json');
  await writeFile(sample, '{"x": [[1, 2]]}');
  expect(await rig.once({ sample })).toMatchObject({ registered: ['m:1'] });
  await writeFile(sample, '{"data": [[1,2]]}');
  expect(await rig.once({ sample })).toEqual({ id: 'm:1', registered: [], packed: false });
  expect(await rig.once()).toEqual({ id: 'm:1', registered: [], packed: false });
  await writeFile(sample, '{"x": [[2, 1]]}');
  expect(await rig.once({ sample })).toEqual({ id: 'm:2', registered: ['m:2'], packed: true });
});

interface OnceRig extends WorkspaceRig {
  readonly file: string;
  readonly registration: Registration;
  /** Registers the model `m` where it is not, and tells whether its files were read for it. */
  once(
    other?: Partial<Registration>,
  ): Promise<{ readonly id: string; readonly registered: readonly string[]; readonly packed: boolean }>;
  blobs(): Promise<readonly string[]>;
}

/** A workspace with a model file that was not written just now. */
async function onceRig(): Promise<OnceRig> {
  const rig = await workspaceRig();
  const file = join(rig.folder, 'model.onnx');
  await writeSettled(file, modelOf(1));
  const registration = { path: file, name: 'm' };
  return {
    ...rig,
    file,
    registration,
    once: async (other = {}) => {
      let packed = false;
      const { models, registered } = await registerOnce(
        rig.workspace,
        [{ ...registration, ...other }],
        (registration, unless) => {
          packed = true;
          return registerModel(rig.workspace, registration, unless);
        },
      );
      expect(listModels(rig.workspace.database, { latest: true })).toEqual(models);
      return { id: models.map(({ name, version }) => `${name}:${version}`).join(), registered, packed };
    },
    blobs: () => readdir(join(rig.workspace.layoutFolder, 'blobs/sha256')),
  };
}

/** Gives the identity model with one weight of this value that nothing uses. */
function modelOf(weight: number): Uint8Array {
  return model(...identityGraph, [5, message([1, 1], [2, 2], [8, 'weight'], [9, Uint8Array.of(weight)])]);
}
