import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { hasCommand, runCommand } from '../../shared/oci/commands.ts';
import { smallImage } from '../../shared/oci/small-image.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { startRig } from './rig.ts';

const hasSkopeo = await hasCommand('skopeo');
const hasCrane = await hasCommand('crane', 'version');
const hasOras = await hasCommand('oras', 'version');
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

test('crane finds an image of the layout valid, reads its files, and appends a layer to it', async ({ skip }) => {
  if (!hasCrane) skip('there is no crane');
  await using rig = await startRig();
  await using folder = await temporaryFolder();
  const image = await smallImage(await LayoutStore.open(rig.layoutDir), 'digits', '1', 'exported by crane');
  const name = `${rig.registry.host}/digits:1`;
  expect((await runCommand('crane', ['digest', name])).trim()).toBe(image.digest);
  await validate(name);
  expect(await runCommand('crane', ['export', name, '-'])).toContain('exported by crane');
  const tar = join(folder.path, 'more.tar');
  await runCommand('tar', ['-C', import.meta.dirname, '-cf', tar, 'rig.ts']);
  await runCommand('crane', ['append', '-b', name, '-f', tar, '-t', `${rig.registry.host}/digits:2`]);
  await validate(`${rig.registry.host}/digits:2`);
  expect((await runCommand('crane', ['ls', `${rig.registry.host}/digits`])).trim().split('\n')).toEqual(['1', '2']);
});

test('oras pushes an artifact, attaches another to it, finds and copies both', async ({ skip }) => {
  if (!hasOras) skip('there is no oras');
  await using rig = await startRig();
  await using folder = await temporaryFolder();
  const oras = (command: string, ...args: string[]): Promise<string> =>
    runCommand('oras', [command, '--plain-http', ...args]);
  const name = `${rig.registry.host}/models/digits`;
  const file = join(folder.path, 'weights.bin');
  await writeFile(file, 'weights');
  await oras('push', '--disable-path-validation', `${name}:1`, `${file}:application/octet-stream`);
  await oras('attach', '--disable-path-validation', '--artifact-type', 'application/x-note', `${name}:1`, file);
  expect(await oras('discover', `${name}:1`)).toContain('application/x-note');
  const copied = join(folder.path, 'copied');
  await runCommand('oras', ['copy', '--from-plain-http', '-r', `${name}:1`, '--to-oci-layout', `${copied}:1`]);
  const index = JSON.parse(await readFile(join(copied, 'index.json'), 'utf8')) as { manifests: unknown[] };
  expect(index.manifests.length).toBeGreaterThan(0);
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

/** Has crane check an image, its layers' bytes too: crane 0.20 takes every layer for a compressed one, later ones look first. */
async function validate(name: string): Promise<void> {
  await runCommand('crane', ['validate', '--fast', '--remote', name]);
  try {
    await runCommand('crane', ['validate', '--remote', name]);
  } catch (error) {
    if (!String(error).includes('gzip: invalid header')) throw error;
  }
}
