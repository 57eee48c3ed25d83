import { readdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createImage } from '../../../cloud/images/create.ts';
import { exportImage } from '../../../cloud/images/export.ts';
import { removeImage } from '../../../cloud/images/remove.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { removeModel } from '../../../cloud/models/remove.ts';
import { digitsFile, logisticFile, type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';

const onLinux = process.platform === 'linux';

test.runIf(onLinux)(
  'removeImage() frees what nothing else needs, once it is old, and another image stays whole',
  async () => {
    await using rig = await workspaceRig();
    const { workspace } = rig;
    await registerModel(workspace, { path: digitsFile, name: 'digits' });
    const other = await registerModel(workspace, { path: logisticFile, name: 'other' });
    const kept = await createImage(workspace, { models: [{ name: 'digits' }] });
    const { image } = await createImage(workspace, { models: [{ name: 'digits' }, { name: 'other' }], name: 'both' });
    const own = image.layers.find(({ kind }) => kind === 'app')?.digest ?? '';
    const before = await blobsOf(rig);
    await removeImage(workspace, { name: 'both', version: 1 });
    // All is young still: a build that runs beside may be about to refer to it.
    expect(await blobsOf(rig)).toEqual(before);
    await removeImage(workspace, (await createImage(workspace, { models: [{ name: 'other' }] })).image);
    await makeOld(rig);
    await removeModel(workspace, { name: 'other', version: 1 });
    const after = await blobsOf(rig);
    for (const digest of [image.digest, image.sbom, own, other.digest]) {
      expect(before).toContain(fileOf(digest));
      expect(after).not.toContain(fileOf(digest));
    }
    await exportImage(workspace, kept.image, { output: join(rig.folder, 'kept.tar') });
  },
);

test.runIf(onLinux)('createImage() beside deletions of old images keeps every layer that it found', async () => {
  await using rig = await workspaceRig();
  const { workspace } = rig;
  await registerModel(workspace, { path: digitsFile, name: 'digits' });
  for (let round = 1; round <= 5; round += 1) {
    const { image } = await createImage(workspace, { models: [{ name: 'digits' }], name: `old-${round}` });
    // From here on only the image that goes refers to base and engine, and they are old.
    await makeOld(rig);
    const [made] = await Promise.all([
      createImage(workspace, { models: [{ name: 'digits' }], name: `new-${round}` }),
      removeImage(workspace, image),
    ]);
    const { sizeBytes } = await exportImage(workspace, made.image, {
      output: join(rig.folder, 'image.tar'),
      overwrite: true,
    });
    expect(sizeBytes).toBeGreaterThan(made.image.layers.reduce((sum, layer) => sum + layer.sizeBytes, 0));
    await removeImage(workspace, made.image);
  }
});

function fileOf(digest: string): string {
  return digest.slice('sha256:'.length);
}

function blobsOf({ workspace }: WorkspaceRig): Promise<string[]> {
  return readdir(join(workspace.layoutFolder, 'blobs/sha256'));
}

async function makeOld(rig: WorkspaceRig): Promise<void> {
  const twoHoursAgo = Date.now() / 1000 - 7200;
  for (const name of await blobsOf(rig)) {
    await utimes(join(rig.workspace.layoutFolder, 'blobs/sha256', name), twoHoursAgo, twoHoursAgo);
  }
}
