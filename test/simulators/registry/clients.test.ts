import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { hasCommand, runCommand } from '../../shared/oci/commands.ts';
import { smallImage } from '../../shared/oci/small-image.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { startRig } from './rig.ts';

const hasSkopeo = await hasCommand('skopeo');
const hasDocker = await hasCommand('docker', 'info');

test('skopeo inspects an image of the layout and copies it out', async ({ skip }) => {
  if (!hasSkopeo) skip('there is no skopeo');
  await using rig = await startRig();
  const image = await smallImage(await LayoutStore.open(rig.layoutDir), 'models/digits', '1');
  const name = `docker://${rig.registry.host}/models/digits:1`;
  const inspected = await runCommand('skopeo', ['inspect', '--tls-verify=false', name]);
  expect(JSON.parse(inspected)).toMatchObject({
    Name: `${rig.registry.host}/models/digits`,
    Digest: image.digest,
    RepoTags: ['1'],
    Architecture: 'amd64',
  });
  await using folder = await temporaryFolder();
  await runCommand('skopeo', [
    'copy',
    '-q',
    '--preserve-digests',
    '--src-tls-verify=false',
    name,
    `oci:${folder.path}:copied`,
  ]);
  const index = JSON.parse(await readFile(join(folder.path, 'index.json'), 'utf8')) as { manifests: unknown[] };
  expect(index.manifests).toMatchObject([{ digest: image.digest, size: image.size }]);
});

test('skopeo copies an image in, which the layout then holds', async ({ skip }) => {
  if (!hasSkopeo) skip('there is no skopeo');
  await using rig = await startRig();
  await using folder = await temporaryFolder();
  const image = await smallImage(await LayoutStore.open(folder.path), 'digits', '1');
  const target = `docker://${rig.registry.host}/team/digits:7`;
  await runCommand('skopeo', [
    'copy',
    '-q',
    '--preserve-digests',
    '--dest-tls-verify=false',
    `oci:${folder.path}:digits:1`,
    target,
  ]);
  const store = await LayoutStore.open(rig.layoutDir);
  expect(await store.resolve('team/digits', '7')).toEqual(image);
  await runCommand('skopeo', ['delete', '--tls-verify=false', target]);
  expect(await store.repositories()).toEqual([]);
});

test('umoci unpacks an image of the layout while it is served', async ({ skip }) => {
  if (!(await hasCommand('umoci'))) skip('there is no umoci');
  await using rig = await startRig();
  await using folder = await temporaryFolder();
  await smallImage(await LayoutStore.open(rig.layoutDir), 'digits', '1', 'unpacked by umoci');
  const bundle = join(folder.path, 'bundle');
  await runCommand('umoci', ['unpack', '--rootless', '--image', `${rig.layoutDir}:digits:1`, bundle]);
  expect(await readFile(join(bundle, 'rootfs/app/message'), 'utf8')).toBe('unpacked by umoci');
});

test('docker pulls by digest, pushes back under another name, and is given it again', async ({ skip }) => {
  if (!hasDocker) skip('there is no Docker engine');
  await using rig = await startRig();
  const message = `docker ${Date.now()}`;
  const image = await smallImage(await LayoutStore.open(rig.layoutDir), 'models/digits', '1', message);
  const name = `${rig.registry.host}/models/digits@${image.digest}`;
  const pushed = `${rig.registry.host}/mf-oci/pushed:1`;
  await using _images = {
    async [Symbol.asyncDispose]() {
      await runCommand('docker', ['image', 'rm', '-f', name, pushed]).catch(() => undefined);
    },
  };
  await runCommand('docker', ['pull', '-q', name]);
  const [inspected] = JSON.parse(await runCommand('docker', ['image', 'inspect', name])) as [{ Config: object }];
  expect(inspected.Config).toMatchObject({ WorkingDir: '/app' });
  await runCommand('docker', ['tag', name, pushed]);
  await runCommand('docker', ['push', '-q', pushed]);
  const store = await LayoutStore.open(rig.layoutDir);
  expect(await store.tags('mf-oci/pushed')).toEqual(['1']);
});
