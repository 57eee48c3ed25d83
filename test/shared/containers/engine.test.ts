import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DockerEngine } from '../../../shared/containers/docker/docker-engine.ts';
import type { ContainerEngine, ContainerSpec, ContainerState } from '../../../shared/containers/engine.ts';
import { ProcessEngine } from '../../../shared/containers/process/process-engine.ts';
import type { Digest } from '../../../shared/digest.ts';
import { createLogger } from '../../../shared/log.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { canLimit } from './control-groups.ts';
import { podmanIsThere, startPodman } from './podman-service.ts';
import { putTestImage } from './test-image.ts';

const log = createLogger('test', { level: 'silent' });
const owner = randomBytes(4).toString('hex');

/** Says what it was given, counts its starts in the data folder, and ends by itself when that holds a file `code`, or on SIGTERM. */
const script = `
trap 'echo told to end; exit 0' TERM
echo "hello $GREETING from $PWD, listening on $MODELFERRY_HOST:$MODELFERRY_PORT"
echo "to standard error" >&2
echo started >> "$MODELFERRY_DATA_DIR/starts"
while true; do
  if [ -f "$MODELFERRY_DATA_DIR/code" ]; then exit $(cat "$MODELFERRY_DATA_DIR/code"); fi
  sleep 0.05
done
`;

const dockerIsThere = await (async () => {
  await using folder = await temporaryFolder();
  const layout = await LayoutStore.open(folder.path);
  return DockerEngine.open({ layout, owner, log }).then(
    () => true,
    () => false,
  );
})();
if (!dockerIsThere) console.warn('no Docker engine answers: the tests of the Docker engine are skipped');

if (!canLimit) console.warn('no control group can be made here: the tests of limits are skipped');
if (!podmanIsThere) console.warn('there is no podman, or this is not root: the tests of its API are skipped');
const isThere = { process: true, docker: dockerIsThere, podman: podmanIsThere };

describe.each(['process', 'docker', 'podman'] as const)('the %s engine', (kind) => {
  describe.skipIf(!isThere[kind])('runs containers', () => {
    let folder: Awaited<ReturnType<typeof temporaryFolder>>;
    let layout: LayoutStore;
    let image: Digest;
    let engine: ContainerEngine;
    let count = 0;

    let podman: Awaited<ReturnType<typeof startPodman>> | undefined;

    const open = (): Promise<ContainerEngine> =>
      kind !== 'process'
        ? DockerEngine.open({ layout, owner, log, ...(podman === undefined ? {} : { socketPath: podman.socketPath }) })
        : ProcessEngine.open({ layout, folder: join(folder.path, 'engine'), log });

    beforeAll(async () => {
      folder = await temporaryFolder();
      layout = await LayoutStore.open(join(folder.path, 'layout'));
      image = await putTestImage(layout, { script, environment: ['GREETING=nobody'] });
      if (kind === 'podman') podman = await startPodman(folder.path);
      engine = await open();
      await engine.prepareImage(image);
    });

    afterAll(async () => {
      for (const { name } of await engine.list()) {
        await engine.stop(name, { graceMs: 100 });
        await engine.remove(name);
      }
      await engine.forgetImage(image);
      await podman?.[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    });

    /** Makes a container of a name of its own. */
    const create = async (changes: Partial<ContainerSpec> = {}): Promise<{ name: string; dataFolder: string }> => {
      count += 1;
      const name = `m${count}`;
      const dataFolder = join(folder.path, name);
      await mkdir(dataFolder);
      const spec = { name, image, environment: {}, settings: {}, dataFolder, labels: { 'test.label': name } };
      await engine.create({ ...spec, ...changes });
      return { name, dataFolder };
    };
    const state = async (name: string, of: ContainerEngine = engine): Promise<ContainerState | undefined> =>
      (await of.list()).find((container) => container.name === name);

    test('create(), start(), stop() and remove() lead through the states of a container', async () => {
      const { name } = await create();
      expect(await state(name)).toMatchObject({ name, status: 'created', labels: { 'test.label': name } });
      await engine.start(name);
      expect(await state(name)).toMatchObject({ status: 'running', startedAt: expect.stringMatching(/^20.*Z$/) });
      await until(async () => (await engine.logs(name)).includes('hello'));
      await engine.stop(name, { graceMs: 5_000 });
      expect(await state(name)).toMatchObject({ status: 'exited', exitCode: 0, finishedAt: expect.any(String) });
      await engine.remove(name);
      expect(await state(name)).toBeUndefined();
    });

    test('start(), stop() and remove() may be done twice', async () => {
      const { name } = await create();
      await engine.start(name);
      await engine.start(name);
      await engine.stop(name, { graceMs: 1_000 });
      await engine.stop(name, { graceMs: 1_000 });
      await engine.remove(name);
      await engine.remove(name);
      await engine.stop(name, { graceMs: 1_000 });
      expect(await state(name)).toBeUndefined();
    });

    test('a container gets its environment over that of the image, its folder, and its data folder', async () => {
      const { name, dataFolder } = await create({ environment: { GREETING: 'world' } });
      await engine.start(name);
      await until(async () => (await readFile(join(dataFolder, 'starts'), 'utf8')) === 'started\n');
      const output = await until(async () => {
        const text = await engine.logs(name);
        return text.includes('standard error') && text;
      });
      expect(output).toMatch(/^hello world from \S*\/app,/m);
      await engine.stop(name, { graceMs: 1_000 });
    });

    test('logs() gives the last lines that are asked for', async () => {
      const { name } = await create();
      await engine.start(name);
      await until(async () => (await engine.logs(name)).includes('standard error'));
      await engine.stop(name, { graceMs: 5_000 });
      expect(await engine.logs(name, { tail: 1 })).toBe('told to end\n');
    });

    test('a container that ends by itself is exited with its code, and can be started again', async () => {
      const { name, dataFolder } = await create();
      await writeFile(join(dataFolder, 'code'), '7');
      await engine.start(name);
      await until(async () => (await state(name))?.status === 'exited');
      expect(await state(name)).toMatchObject({ exitCode: 7 });
      await engine.start(name);
      await until(async () => (await readFile(join(dataFolder, 'starts'), 'utf8')) === 'started\nstarted\n');
    });

    test('stop() kills what does not end in time', async () => {
      const { name } = await create({
        settings: { Entrypoint: ['/bin/sh', '-c', 'trap "" TERM; echo up; while true; do sleep 1; done'] },
      });
      await engine.start(name);
      await until(async () => (await engine.logs(name)).includes('up'));
      await engine.stop(name, { graceMs: 1_000 });
      expect(await state(name)).toMatchObject({ status: 'exited', exitCode: 137 });
    });

    test.skipIf(!canLimit).each([
      // A shell's text that doubles, and more processes than there may be.
      ['memory', { Memory: 48 * 1024 * 1024 }, 'x=0123456789abcdef; while true; do x=$x$x; done', 137],
      ['processes', { PidsLimit: 8 }, 'for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 60 & done; echo enough', 2],
    ])('a container gets no more %s than its settings say', async (_, HostConfig, line, exitCode) => {
      const { name } = await create({ settings: { Entrypoint: ['/bin/sh', '-c', line], HostConfig } });
      await engine.start(name);
      await until(async () => (await state(name))?.status === 'exited', { timeoutMs: 30_000 });
      expect(await state(name)).toMatchObject({ exitCode });
      expect(await engine.logs(name)).not.toContain('enough');
    });

    test('an engine that is opened anew takes up what runs', async () => {
      const { name, dataFolder } = await create();
      await engine.start(name);
      await until(async () => (await engine.logs(name)).includes('hello'));
      await using again = await open();
      expect(await state(name, again)).toMatchObject({ status: 'running' });
      await again.stop(name, { graceMs: 5_000 });
      expect(await state(name, again)).toMatchObject({ status: 'exited' });
      expect(await readFile(join(dataFolder, 'starts'), 'utf8')).toBe('started\n');
    });

    test('start() on a port that another program has fails with PORT_IN_USE', async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await until(() => server.listening);
      const { port } = server.address() as AddressInfo;
      const bindings = { '5001/tcp': [{ HostIp: '127.0.0.1', HostPort: String(port) }] };
      const { name } = await create({ settings: { HostConfig: { PortBindings: bindings } } });
      await expect(engine.start(name)).rejects.toMatchObject({
        code: 'PORT_IN_USE',
        message: expect.stringContaining(String(port)),
      });
      server.close();
    });

    test('create() of a name that is there, start() of one that is not, and of what the image has not fail with a FerryError', async () => {
      const { name, dataFolder } = await create();
      const spec = { name, image, environment: {}, settings: {}, dataFolder, labels: {} };
      await expect(engine.create(spec)).rejects.toMatchObject({ code: 'ENGINE_FAILED' });
      await expect(engine.start('nobody')).rejects.toMatchObject({ code: 'ENGINE_FAILED' });
      const missing = await create({ settings: { Entrypoint: '/bin/missing' } });
      await expect(engine.start(missing.name)).rejects.toMatchObject({ name: 'FerryError' });
    });

    test('prepareImage() of an image that the layout has not fails', async () => {
      await expect(engine.prepareImage(`sha256:${'0'.repeat(64)}`)).rejects.toMatchObject({ name: 'FerryError' });
    });
  });
});
