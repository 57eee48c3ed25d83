import { readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createImage } from '../../../cloud/images/create.ts';
import { exportContext } from '../../../cloud/images/export-context.ts';
import { exportImage } from '../../../cloud/images/export.ts';
import { findImage, listImages } from '../../../cloud/images/image.ts';
import { downloadModel } from '../../../cloud/models/download.ts';
import { findModel, listModels } from '../../../cloud/models/model.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { digestOf } from '../../../shared/digest.ts';
import { canMount, smallDisk } from '../small-disk.ts';
import { digitsFile, logisticFile, type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';

/** How many amounts of room are tried, from none to enough; more are for a longer run. */
const rooms = Number(process.env['FULL_DISK_ROOMS'] ?? 5);
/** Room that is left on the disk, in bytes: each is used up at another step. */
const roomsBytes = Array.from({ length: rooms }, (_, at) => Math.floor((80_000 * at) / (rooms - 1)));
const timeout = 60_000 + rooms * 10_000;

test.runIf(canMount)(
  'a disk that is full at any step of registering loses nothing, and then registers',
  { timeout },
  async () => {
    await using disk = await smallDisk(8_000_000);
    await using rig = await workspaceRig(disk.path);
    await registerModel(rig.workspace, { path: logisticFile, name: 'digits' });
    let failures = 0;
    for (const [at, room] of roomsBytes.entries()) {
      const failed = await withRoom(disk.path, room, () =>
        registerModel(rig.workspace, { path: digitsFile, name: `full-${at}` }, { load: false }),
      );
      if (failed) failures += 1;
      expect(listModels(rig.workspace.database, { name: `full-${at}` })).toHaveLength(failed ? 0 : 1);
      const again = await registerModel(rig.workspace, { path: digitsFile, name: `full-${at}` }, { load: false });
      expect(again.version).toBe(failed ? 1 : 2);
      await expectWhole(rig);
    }
    expect(failures).toBeGreaterThan(0);
  },
);

test.runIf(canMount)(
  'a disk that is full at any step of building or exporting loses nothing, and then builds',
  { timeout },
  async () => {
    await using disk = await smallDisk(240e6);
    await using rig = await workspaceRig(disk.path);
    await registerModel(rig.workspace, { path: logisticFile, name: 'digits' });
    await createImage(rig.workspace, { models: [{ name: 'digits' }] });
    await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
    let failures = 0;
    for (const [at, room] of roomsBytes.entries()) {
      const request = { models: [{ name: 'digits' }], name: `full-${at}` };
      const failed = await withRoom(disk.path, room, () => createImage(rig.workspace, request));
      if (failed) failures += 1;
      expect(listImages(rig.workspace.database, { name: request.name })).toHaveLength(failed ? 0 : 1);
      expect((await createImage(rig.workspace, request)).image.version).toBe(1);
      await expectWhole(rig);
    }
    expect(failures).toBeGreaterThan(0);
    await expectNothingHalf(rig);
  },
);

/** Writes a model and an image to a disk that is too small for them: what is for users is whole or not there. */
async function expectNothingHalf({ workspace }: WorkspaceRig): Promise<void> {
  await using disk = await smallDisk(16_384);
  const model = findModel(workspace.database, { name: 'digits' });
  const image = findImage(workspace.database, { name: 'digits' });
  const full = { code: 'DISK_FULL' };
  await expect(downloadModel(workspace, model, { target: disk.path })).rejects.toMatchObject(full);
  const output = join(disk.path, 'image');
  await expect(exportImage(workspace, image, { output })).rejects.toMatchObject(full);
  await expect(exportContext(workspace, image, { output })).rejects.toMatchObject(full);
  expect(await readdir(disk.path)).toEqual([]);
}

/** Does something on a disk with so much room; says whether that failed for want of it. */
async function withRoom(disk: string, roomBytes: number, work: () => Promise<unknown>): Promise<boolean> {
  const filler = join(disk, 'filler');
  const { bavail, bsize } = await statfs(disk);
  await writeFile(filler, Buffer.alloc(Math.max(0, bavail * bsize - roomBytes)));
  try {
    await work();
    return false;
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'DISK_FULL') throw error;
    return true;
  } finally {
    await rm(filler);
  }
}

/** Checks every blob of the workspace against its name, and that nothing half is left. */
async function expectWhole({ workspace }: WorkspaceRig): Promise<void> {
  const folder = join(workspace.layoutFolder, 'blobs', 'sha256');
  const wrong: string[] = [];
  for (const name of await readdir(folder)) {
    const bytes = await readFile(join(folder, name));
    if (bytes.byteLength < 10_000_000 && digestOf(bytes) !== `sha256:${name}`) wrong.push(name);
  }
  expect(wrong).toEqual([]);
  expect(await readdir(join(workspace.layoutFolder, '.ingest'))).toEqual([]);
}
