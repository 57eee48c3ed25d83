import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createImage } from '../../../cloud/images/create.ts';
import { exportImage } from '../../../cloud/images/export.ts';
import type { Image } from '../../../cloud/images/image.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { digestOf } from '../../../shared/digest.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { hasCommand, runCommand } from '../../shared/oci/commands.ts';
import { digitsFile, type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';

const onLinux = process.platform === 'linux';
const hasSkopeo = await hasCommand('skopeo');

test.runIf(onLinux && hasSkopeo)('exportImage() writes an archive that skopeo reads as the same image', async () => {
  await using rig = await imageRig();
  const output = join(rig.folder, 'digits.tar');
  const { file, sizeBytes } = await exportImage(rig.workspace, rig.image, { output });
  expect(file).toBe(output);
  expect(sizeBytes).toBeGreaterThan(rig.image.layers.reduce((sum, layer) => sum + layer.sizeBytes, 0));
  const inspected: unknown = JSON.parse(await runCommand('skopeo', ['inspect', `oci-archive:${output}:digits:1`]));
  expect(inspected).toMatchObject({ Digest: rig.image.digest, Layers: rig.image.layers.map(({ digest }) => digest) });
});

test.runIf(onLinux)('exportImage() gives the same bytes for the same image', async () => {
  await using rig = await imageRig();
  const digests: string[] = [];
  for (const name of ['one.tar', 'two.tar']) {
    await exportImage(rig.workspace, rig.image, { output: join(rig.folder, name) });
    digests.push(digestOf(await readFile(join(rig.folder, name))));
  }
  expect(digests[1]).toBe(digests[0]);
});

test.runIf(onLinux)('exportImage() replaces a file only when it may, and leaves none when it fails', async () => {
  await using rig = await imageRig();
  const output = join(rig.folder, 'digits.tar');
  await writeFile(output, 'mine');
  await expect(exportImage(rig.workspace, rig.image, { output })).rejects.toMatchObject({ code: 'FILE_EXISTS' });
  const layout = await LayoutStore.open(rig.workspace.layoutFolder);
  await rm(layout.blobPath(rig.image.layers[3]?.digest ?? rig.image.digest));
  await expect(exportImage(rig.workspace, rig.image, { output, overwrite: true })).rejects.toMatchObject({
    code: 'WORKSPACE_CORRUPT',
  });
  expect(await readFile(output, 'utf8')).toBe('mine');
  expect((await readdir(rig.folder)).sort()).toEqual(['.ferry', 'digits.tar']);
});

/** A workspace with the image `digits:1`. */
async function imageRig(): Promise<WorkspaceRig & { readonly image: Image }> {
  const rig = await workspaceRig();
  await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const { image } = await createImage(rig.workspace, { models: [{ name: 'digits' }] });
  return { ...rig, image };
}
