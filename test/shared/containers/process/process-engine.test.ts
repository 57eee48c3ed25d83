import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ProcessEngine } from '../../../../shared/containers/process/process-engine.ts';
import { processesWith } from '../../../../shared/containers/process/process-identity.ts';
import type { Digest } from '../../../../shared/digest.ts';
import { createLogger } from '../../../../shared/log.ts';
import { LayoutStore } from '../../../../shared/oci/layout-store.ts';
import { temporaryFolder } from '../../../temporary-folder.ts';
import { until } from '../../../until.ts';
import { putTestImage } from '../test-image.ts';

const log = createLogger('test', { level: 'silent' });
const forever = 'while true; do sleep 0.05; done';

/** An engine in a folder of its own, with one image prepared. */
async function openRig(
  options: Parameters<typeof putTestImage>[1],
): Promise<
  { folder: string; image: Digest; open: () => Promise<ProcessEngine>; engine: ProcessEngine } & AsyncDisposable
> {
  const folder = await temporaryFolder();
  // Other users may pass, as through /var/lib/modelferry.
  await chmod(folder.path, 0o755);
  const layout = await LayoutStore.open(join(folder.path, 'layout'));
  const image = await putTestImage(layout, options);
  const open = (): Promise<ProcessEngine> => ProcessEngine.open({ layout, folder: join(folder.path, 'engine'), log });
  const engine = await open();
  await engine.prepareImage(image);
  await mkdir(join(folder.path, 'data'));
  return {
    folder: folder.path,
    image,
    open,
    engine,
    async [Symbol.asyncDispose]() {
      for (const { name } of await engine.list()) await engine.stop(name, { graceMs: 100 });
      await folder[Symbol.asyncDispose]();
    },
  };
}

test("ProcessEngine runs the image's Node through the image's own loader, where the port binding says", async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await until(() => server.listening);
  const { port } = server.address() as AddressInfo;
  server.close();
  const script = `
    import { createServer } from 'node:http';
    const { MODELFERRY_HOST: host, MODELFERRY_PORT: port } = process.env;
    const about = { script: import.meta.filename, uid: process.getuid(), version: process.version, cwd: process.cwd() };
    createServer((_, response) => response.end(JSON.stringify(about))).listen({ host, port });`;
  await using rig = await openRig({ script, node: process.execPath });
  const settings = {
    ExposedPorts: { '5001/tcp': {} },
    HostConfig: { PortBindings: { '5001/tcp': [{ HostIp: '127.0.0.1', HostPort: String(port) }] } },
  };
  const dataFolder = join(rig.folder, 'data');
  await rig.engine.create({ name: 'm', image: rig.image, environment: {}, settings, dataFolder, labels: {} });
  await rig.engine.start('m');
  const about = await until(async () => (await fetch(`http://127.0.0.1:${port}/`)).json());
  const root = join(rig.folder, 'engine', 'roots', rig.image.replace(':', '-'));
  expect(about).toEqual({
    script: join(root, 'opt/run.mjs'),
    uid: process.getuid?.() === 0 ? 10_001 : process.getuid?.(),
    version: process.version,
    cwd: join(root, 'app'),
  });
});

test('ProcessEngine.open() ends a process that was started but never written down', async () => {
  await using rig = await openRig({ script: forever });
  const dataFolder = join(rig.folder, 'data');
  await rig.engine.create({ name: 'm', image: rig.image, environment: {}, settings: {}, dataFolder, labels: {} });
  const record = join(rig.folder, 'engine/containers/m/record.json');
  const before = await readFile(record);
  await rig.engine.start('m');
  // As after a crash between the start and the writing.
  await writeFile(record, before);
  const mark = join(rig.folder, 'engine/m');
  expect((await processesWith('MODELFERRY_PROCESS', mark)).length).toBeGreaterThan(0);
  const again = await rig.open();
  expect(await again.list()).toMatchObject([{ name: 'm', status: 'created' }]);
  expect(await processesWith('MODELFERRY_PROCESS', mark)).toEqual([]);
});

test('ProcessEngine does not take a process for its own that was given the same id later', async () => {
  await using rig = await openRig({ script: forever });
  const dataFolder = join(rig.folder, 'data');
  await rig.engine.create({ name: 'm', image: rig.image, environment: {}, settings: {}, dataFolder, labels: {} });
  const record = join(rig.folder, 'engine/containers/m/record.json');
  const written = JSON.parse(await readFile(record, 'utf8')) as object;
  const stranger = { pid: process.pid, startTicks: 1, bootId: 'another' };
  await writeFile(record, JSON.stringify({ ...written, process: stranger, startedAt: '2026-01-01T00:00:00Z' }));
  const again = await rig.open();
  expect(await again.list()).toMatchObject([{ name: 'm', status: 'exited', exitCode: 255 }]);
});

test('ProcessEngine ends what a container has started together with it', async () => {
  await using rig = await openRig({ script: `sleep 600 &\necho up\n${forever}` });
  const dataFolder = join(rig.folder, 'data');
  await rig.engine.create({ name: 'm', image: rig.image, environment: {}, settings: {}, dataFolder, labels: {} });
  await rig.engine.start('m');
  await until(async () => (await rig.engine.logs('m')).includes('up'));
  await rig.engine.stop('m', { graceMs: 1_000 });
  await until(async () => (await processesWith('MODELFERRY_PROCESS', join(rig.folder, 'engine/m'))).length === 0);
  expect(await rig.engine.list()).toMatchObject([{ status: 'exited', exitCode: 143 }]);
});

test('ProcessEngine ends what a container has left running when its first process ends by itself', async () => {
  await using rig = await openRig({ script: 'sleep 600 &\nsleep 0.3\nexit 7' });
  const dataFolder = join(rig.folder, 'data');
  await rig.engine.create({ name: 'm', image: rig.image, environment: {}, settings: {}, dataFolder, labels: {} });
  await rig.engine.start('m');
  await until(async () => (await rig.engine.list())[0]?.status === 'exited');
  expect(await rig.engine.list()).toMatchObject([{ exitCode: 7 }]);
  expect(await processesWith('MODELFERRY_PROCESS', join(rig.folder, 'engine/m'))).toEqual([]);
});

test('ProcessEngine.open() ends what a container has left running whose first process has ended while nobody looked', async () => {
  await using rig = await openRig({ script: forever });
  const dataFolder = join(rig.folder, 'data');
  await rig.engine.create({ name: 'm', image: rig.image, environment: {}, settings: {}, dataFolder, labels: {} });
  const record = join(rig.folder, 'engine/containers/m/record.json');
  const written = JSON.parse(await readFile(record, 'utf8')) as object;
  const gone = { pid: 4_194_304, startTicks: 1, bootId: 'another' };
  await writeFile(record, JSON.stringify({ ...written, process: gone, startedAt: '2026-01-01T00:00:00Z' }));
  // In a process group that another leads.
  const left = spawn('sleep', ['600'], { env: { ...process.env, MODELFERRY_PROCESS: join(rig.folder, 'engine/m') } });
  const ended = once(left, 'exit');
  expect(await (await rig.open()).list()).toMatchObject([{ status: 'exited', exitCode: 255 }]);
  expect(await ended).toEqual([null, 'SIGKILL']);
});

test('ProcessEngine.open() throws away a record that is not whole', async () => {
  await using rig = await openRig({ script: forever });
  const dataFolder = join(rig.folder, 'data');
  await rig.engine.create({ name: 'm', image: rig.image, environment: {}, settings: {}, dataFolder, labels: {} });
  await writeFile(join(rig.folder, 'engine/containers/m/record.json'), '{"spec":');
  expect(await (await rig.open()).list()).toEqual([]);
});
