import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { digestOf } from '../../../shared/digest.ts';
import { createLogger } from '../../../shared/log.ts';
import { copyImage } from '../../../shared/oci/copy-image.ts';
import { layoutPlace } from '../../../shared/oci/layout-place.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { registryPlace } from '../../../shared/oci/registry-place.ts';
import { startRegistry } from '../../../simulators/registry/registry.ts';
import { startRig } from '../../simulators/registry/rig.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { hasCommand, runCommand } from './commands.ts';
import { smallImage } from './small-image.ts';

const log = createLogger('registry', { level: 'silent' });
const source = (path: string): string => JSON.stringify(new URL(`../../../${path}`, import.meta.url).href);

test('a push that is killed at any moment leaves nothing half, and the same push then succeeds', async () => {
  await using rig = await startRig();
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const pushed: string[] = [];
  for (const steps of [1, 2, 5, 20, 60]) {
    const tag = `killed-after-${steps}`;
    const image = await smallImage(store, 'digits', tag, randomBytes(4_000_000).toString('hex'));
    const pusher = runProgram(pushProgram(folder.path, rig.registry.host, tag));
    const ended = once(pusher, 'exit');
    await dots(pusher, steps);
    pusher.kill('SIGKILL');
    await ended;
    const result = await push(store, rig.registry.host, tag);
    expect(result.digest).toBe(image.digest);
    pushed.push(tag);
  }
  expect((await new RegistryClient(rig.registry.host).tags('digits')).toSorted()).toEqual(pushed.toSorted());
  await expectWholeBlobs(rig.layoutDir);
});

test('a push survives a registry that is killed and comes back on its port', async () => {
  await using folder = await temporaryFolder();
  const layoutDir = join(folder.path, 'registry');
  const store = await LayoutStore.open(join(folder.path, 'layout'));
  const image = await smallImage(store, 'digits', '1', randomBytes(8_000_000).toString('hex'));
  const first = runProgram(registryProgram(layoutDir));
  const ended = once(first, 'exit');
  const [port] = (await once(first.stdout ?? first, 'data')) as [Buffer];
  let killed = false;
  const pushing = push(store, `localhost:${port.toString()}`, '1', ({ movedBytes }) => {
    if (movedBytes < 2_000_000 || killed) return;
    killed = true;
    first.kill('SIGKILL');
  });
  pushing.catch(() => undefined);
  await ended;
  await using _again = await startRegistry({ layoutDir, port: Number(port), log });
  expect(await pushing).toMatchObject({ digest: image.digest });
  await expectWholeBlobs(layoutDir);
});

test('a push to a registry without room says what the registry says, and leaves nothing there', async ({ skip }) => {
  await using disk = await temporaryFolder();
  if (!(await hasCommand('mount', '-t', 'tmpfs', '-o', 'size=2m', 'ferry-test', disk.path))) {
    skip('a small file system can only be mounted by root');
  }
  await using _mount = { [Symbol.asyncDispose]: async () => void (await runCommand('umount', [disk.path])) };
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  await smallImage(store, 'digits', 'small');
  await smallImage(store, 'digits', 'large', randomBytes(2_000_000).toString('hex'));
  await using registry = await startRegistry({ layoutDir: disk.path, port: 0, log });
  await push(store, registry.host, 'small');
  await expect(push(store, registry.host, 'large')).rejects.toMatchObject({
    code: 'REGISTRY_REFUSED',
    message: expect.stringContaining('no space is left'),
  });
  await push(store, registry.host, 'small');
  await expectWholeBlobs(disk.path);
  expect(await readdir(join(disk.path, '.registry', 'uploads'))).toEqual([]);
});

test('pushes of many images at once, some of the same, all arrive', async () => {
  await using rig = await startRig();
  await using folder = await temporaryFolder();
  const store = await LayoutStore.open(folder.path);
  const tags = Array.from({ length: 10 }, (_, at) => `${at}`);
  for (const tag of tags) await smallImage(store, 'digits', tag, `weights ${Number(tag) % 4}`);
  await Promise.all(tags.map((tag) => push(store, rig.registry.host, tag)));
  expect((await new RegistryClient(rig.registry.host).tags('digits')).toSorted()).toEqual(tags);
  await expectWholeBlobs(rig.layoutDir);
});

function push(
  store: LayoutStore,
  host: string,
  tag: string,
  onProgress: (progress: { movedBytes: number }) => void = () => undefined,
): ReturnType<typeof copyImage> {
  return copyImage({
    from: { place: layoutPlace(store), repository: 'digits', reference: tag },
    to: { place: registryPlace(new RegistryClient(host)), repository: 'digits', tags: [tag] },
    onProgress,
  });
}

function runProgram(program: string): ChildProcess {
  return spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Waits until a program has written so many bytes, or has ended. */
async function dots(child: ChildProcess, count: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let written = 0;
  child.stdout?.on('data', (piece: Buffer) => {
    written += piece.byteLength;
    if (written >= count) resolve();
  });
  child.once('exit', () => resolve());
  await promise;
}

function pushProgram(layout: string, host: string, tag: string): string {
  return `
    import { copyImage } from ${source('shared/oci/copy-image.ts')};
    import { layoutPlace } from ${source('shared/oci/layout-place.ts')};
    import { LayoutStore } from ${source('shared/oci/layout-store.ts')};
    import { RegistryClient } from ${source('shared/oci/registry-client.ts')};
    import { registryPlace } from ${source('shared/oci/registry-place.ts')};
    const place = layoutPlace(await LayoutStore.open(${JSON.stringify(layout)}));
    await copyImage({
      from: { place, repository: 'digits', reference: '${tag}' },
      to: { place: registryPlace(new RegistryClient('${host}')), repository: 'digits', tags: ['${tag}'] },
      onProgress: () => void process.stdout.write('.'),
    });`;
}

function registryProgram(layoutDir: string): string {
  return `
    import { createLogger } from ${source('shared/log.ts')};
    import { startRegistry } from ${source('simulators/registry/registry.ts')};
    const log = createLogger('registry', { level: 'silent' });
    const registry = await startRegistry({ layoutDir: ${JSON.stringify(layoutDir)}, port: 0, log });
    process.stdout.write(String(registry.port));`;
}

async function expectWholeBlobs(layoutDir: string): Promise<void> {
  const folder = join(layoutDir, 'blobs', 'sha256');
  for (const name of await readdir(folder)) expect(digestOf(await readFile(join(folder, name)))).toBe(`sha256:${name}`);
}
