import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import type { Digest } from '../../../shared/digest.ts';
import { copyImage, type CopyProgress } from '../../../shared/oci/copy-image.ts';
import { layoutPlace } from '../../../shared/oci/layout-place.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { encodeJson } from '../../../shared/oci/manifest.ts';
import { mediaTypes } from '../../../shared/oci/media-types.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { registryPlace } from '../../../shared/oci/registry-place.ts';
import { startRig } from '../../simulators/registry/rig.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { hasCommand, runCommand } from './commands.ts';
import { hasDebianRegistry, startDebianRegistry } from './debian-registry.ts';
import { startMisbehaving } from './misbehaving-registry.ts';
import { smallImage } from './small-image.ts';

test('copyImage() pushes what is missing, and nothing the second time', async () => {
  await using rig = await startRig();
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const image = await smallImage(store, 'digits', '1');
  const to = registryPlace(new RegistryClient(rig.registry.host));
  const push = (): ReturnType<typeof copyImage> =>
    copyImage({
      from: { place: layoutPlace(store), repository: 'digits', reference: '1' },
      to: { place: to, repository: 'team/digits', tags: ['1', 'latest'] },
    });
  const first = await push();
  expect(first).toMatchObject({ digest: image.digest, presentBytes: 0, mountedBytes: 0 });
  expect(first.movedBytes).toBe(first.totalBytes);
  expect(await push()).toMatchObject({ movedBytes: 0, presentBytes: first.totalBytes });
  expect(await new RegistryClient(rig.registry.host).tags('team/digits')).toEqual(['1', 'latest']);
});

test('copyImage() mounts what another repository there has', async ({ skip }) => {
  if (!hasDebianRegistry) skip('docker-registry is not installed');
  await using registry = await startDebianRegistry();
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  await smallImage(store, 'models/digits', '1');
  await smallImage(store, 'digits', '1');
  const place = registryPlace(new RegistryClient(registry.host));
  const push = (repository: string): ReturnType<typeof copyImage> =>
    copyImage({
      from: { place: layoutPlace(store), repository, reference: '1' },
      to: { place, repository, tags: ['1'] },
      mountFrom: () => ['never/was', 'models/digits'],
    });
  const model = await push('models/digits');
  expect(await push('digits')).toMatchObject({ movedBytes: 0, mountedBytes: model.totalBytes });
});

test('copyImage() pulls by digest, checked, into a layout that knows it by digest', async () => {
  await using rig = await startRig();
  await using folder = await temporaryFolder();
  const image = await smallImage(await LayoutStore.open(rig.layoutDir), 'digits', '1');
  const store = await LayoutStore.open(folder.path);
  const reports: CopyProgress[] = [];
  const pulled = await copyImage({
    from: {
      place: registryPlace(new RegistryClient(rig.registry.host)),
      repository: 'digits',
      reference: image.digest,
    },
    to: { place: layoutPlace(store), repository: 'digits' },
    onProgress: (progress) => reports.push(progress),
  });
  expect(await store.resolve('digits', image.digest)).toEqual(image);
  expect(await store.tags('digits')).toEqual([]);
  const { digest: _digest, ...last } = pulled;
  expect(reports.at(-1)).toEqual(last);
  expect(last.movedBytes).toBe(last.totalBytes);
});

test('copyImage() copies an index wholly, or the image of one platform', async () => {
  await using rig = await startRig();
  await using folder = await temporaryFolder();
  const theirs = await LayoutStore.open(rig.layoutDir);
  const index = await indexOf(theirs, ['amd64', 'arm64']);
  const from = { place: registryPlace(new RegistryClient(rig.registry.host)), repository: 'digits', reference: 'all' };

  const whole = await LayoutStore.open(join(folder.path, 'whole'));
  await copyImage({ from, to: { place: layoutPlace(whole), repository: 'digits', tags: ['all'] } });
  expect(await whole.resolve('digits', 'all')).toMatchObject({ digest: index.digest });
  expect(await whole.resolve('digits', index.images['arm64'] ?? '')).toBeDefined();

  const part = await LayoutStore.open(join(folder.path, 'part'));
  const platform = { os: 'linux', architecture: 'arm64' };
  const copied = await copyImage({ from, platform, to: { place: layoutPlace(part), repository: 'digits' } });
  expect(copied.digest).toBe(index.images['arm64']);
  expect(await part.resolve('digits', index.digest)).toBeUndefined();

  await expect(
    copyImage({
      from,
      platform: { os: 'linux', architecture: 'riscv64' },
      to: { place: layoutPlace(part), repository: 'digits' },
    }),
  ).rejects.toMatchObject({
    code: 'PLATFORM_UNSUPPORTED',
    message: expect.stringContaining('linux/amd64, linux/arm64'),
  });
});

test('copyImage() copies from registry to registry', async () => {
  await using one = await startRig();
  await using other = await startRig();
  const image = await smallImage(await LayoutStore.open(one.layoutDir), 'digits', '1');
  await copyImage({
    from: { place: registryPlace(new RegistryClient(one.registry.host)), repository: 'digits', reference: '1' },
    to: { place: registryPlace(new RegistryClient(other.registry.host)), repository: 'copy', tags: ['1'] },
  });
  expect(await (await LayoutStore.open(other.layoutDir)).resolve('copy', '1')).toEqual(image);
});

test('copyImage() says what is not there', async () => {
  await using folder = await temporaryFolder();
  const place = layoutPlace(await LayoutStore.open(folder.path));
  await expect(
    copyImage({ from: { place, repository: 'digits', reference: '1' }, to: { place, repository: 'digits' } }),
  ).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND', message: expect.stringContaining(folder.path) });
});

test('copyImage() refuses a blob that the disk has changed, and leaves no image behind', async () => {
  await using folder = await temporaryFolder();
  const from = await LayoutStore.open(join(folder.path, 'from'));
  const to = await LayoutStore.open(join(folder.path, 'to'));
  const image = await smallImage(from, 'digits', '1');
  const document = await from.readManifest('digits', '1');
  const layer = document?.kind === 'manifest' ? document.manifest.layers[0] : undefined;
  if (layer === undefined) throw new Error('The image has a layer');
  await writeFile(from.blobPath(layer.digest), randomBytes(layer.size));
  await expect(
    copyImage({
      from: { place: layoutPlace(from), repository: 'digits', reference: '1' },
      to: { place: layoutPlace(to), repository: 'digits', tags: ['1'] },
    }),
  ).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  expect(await to.resolve('digits', image.digest)).toBeUndefined();
});

test('copyImage() ends all transfers when one fails or its signal is aborted', async () => {
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  await smallImage(store, 'digits', '1');
  const given = new AbortController();
  await using registry = await startMisbehaving((request, response) => {
    if (request.method === 'HEAD') response.writeHead(404).end();
    // Nothing else is answered, until the signal.
    else given.abort(new Error('given up'));
  });
  await expect(
    copyImage({
      from: { place: layoutPlace(store), repository: 'digits', reference: '1' },
      to: { place: registryPlace(new RegistryClient(registry.host)), repository: 'digits' },
      signal: given.signal,
    }),
  ).rejects.toThrow('given up');
});

test('skopeo and docker read what copyImage() pushed to another registry', async ({ skip }) => {
  if (!hasDebianRegistry) skip('docker-registry is not installed');
  if (!(await hasCommand('skopeo'))) skip('there is no skopeo');
  await using registry = await startDebianRegistry();
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const image = await smallImage(store, 'digits', '1', randomBytes(8).toString('hex'));
  await copyImage({
    from: { place: layoutPlace(store), repository: 'digits', reference: '1' },
    to: { place: registryPlace(new RegistryClient(registry.host)), repository: 'digits', tags: ['1'] },
  });
  const inspected = await runCommand('skopeo', ['inspect', '--tls-verify=false', `docker://${registry.host}/digits:1`]);
  expect(JSON.parse(inspected)).toMatchObject({ Digest: image.digest });
  if (!(await hasCommand('docker', 'info'))) return;
  const name = `${registry.host}/digits@${image.digest}`;
  expect(await runCommand('docker', ['pull', '-q', name])).toContain(image.digest);
  await runCommand('docker', ['image', 'rm', '-f', name]);
});

async function indexOf(
  store: LayoutStore,
  architectures: readonly string[],
): Promise<{ readonly digest: Digest; readonly images: Readonly<Record<string, Digest>> }> {
  const manifests = [];
  for (const architecture of architectures) {
    const image = await smallImage(store, 'digits', undefined, architecture);
    manifests.push({ ...image, platform: { os: 'linux', architecture } });
  }
  const bytes = encodeJson({ schemaVersion: 2, mediaType: mediaTypes.index, manifests });
  const { digest } = await store.putManifest('digits', 'all', bytes, mediaTypes.index);
  return { digest, images: Object.fromEntries(manifests.map((image) => [image.platform.architecture, image.digest])) };
}
