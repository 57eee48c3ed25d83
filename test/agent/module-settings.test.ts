import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ModuleToDeploy } from '../../shared/edge/build-manifest.ts';
import { until } from '../until.ts';
import { Rig, waitingScript } from './rig.ts';

/** A registry that takes connections and never answers. */
async function silentRegistry(): Promise<{ readonly host: string } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `localhost:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

const noImage = `sha256:${'0'.repeat(64)}`;

/** The output of a module, once there is some. */
function outputOf(rig: Rig, module: string): Promise<string> {
  const file = join(rig.stateFolder, 'processes', 'containers', module, 'log');
  return until(() => readFile(file, 'utf8'));
}

test('runAgent() gives a module its environment and createOptions of several pieces, and reports them in the same pieces', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const Env = [`LONG=${'x'.repeat(1_500)}`, 'WORD=of createOptions', 'OTHER=of createOptions'];
  const script = `echo "$WORD, $OTHER, \${#LONG}, $N, $B"\n${waitingScript}`;
  const digits = {
    image: await rig.putImage(script),
    createOptions: { Env },
    env: { WORD: 'of the module', N: 1.5, B: true },
  };
  const { modules } = await rig.reported(await rig.deploy({ digits }), 200);
  expect(await outputOf(rig, 'digits')).toContain('of the module, of createOptions, 1500, 1.5, true\n');
  const { settings, env } = (modules ?? {})['digits'] as unknown as Record<string, Record<string, unknown>>;
  expect(Object.keys(settings ?? {}).toSorted()).toEqual([
    'createOptions',
    'createOptions01',
    'createOptions02',
    'createOptions03',
    'image',
    'imageHash',
  ]);
  expect(['', '01', '02', '03'].map((piece) => settings?.[`createOptions${piece}`]).join('')).toBe(
    JSON.stringify(digits.createOptions),
  );
  expect(env).toEqual({ WORD: { value: 'of the module' }, N: { value: '1.5' }, B: { value: 'true' } });
});

test('runAgent() starts modules by their order, and the ones without an order last', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const image = await rig.putImage();
  const modules: Record<string, ModuleToDeploy> = {
    a: { image },
    b: { image, startupOrder: 2 },
    c: { image, startupOrder: 0 },
    d: { image, startupOrder: 1 },
  };
  const { modules: reported = {} } = await rig.reported(await rig.deploy(modules), 200);
  const byStart = Object.entries(reported).toSorted(([, one], [, two]) =>
    one.lastStartTimeUtc < two.lastStartTimeUtc ? -1 : 1,
  );
  expect(byStart.map(([name]) => name)).toEqual(['c', 'd', 'b', 'a']);
});

test('runAgent() with the image pull policy never runs an image that is on the device, and asks no registry for another', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const image = await rig.putImage();
  await rig.reported(await rig.deploy({ first: { image } }), 200);
  // On the device, and the registry is gone: neither policy needs it.
  await rig.registry.close();
  const second: ModuleToDeploy = { image, imagePullPolicy: 'never' };
  const third: ModuleToDeploy = { image, imagePullPolicy: 'on-create' };
  const { modules } = await rig.reported(await rig.deploy({ first: { image }, second, third }), 200);
  expect(modules).toMatchObject({ second: { runtimeStatus: 'running' }, third: { runtimeStatus: 'running' } });

  await using registry = await silentRegistry();
  const missing: ModuleToDeploy = { image: `${registry.host}/test@${noImage}`, imagePullPolicy: 'never' };
  const version = await rig.deploy({ first: { image }, missing });
  const { lastDesiredStatus } = await rig.reported(version, 500);
  expect(lastDesiredStatus?.description).toContain('it is not on the device, and must not be pulled');
});

test.each([
  ['never', 3, 'failed'],
  ['on-failure', 0, 'stopped'],
  ['on-failure', 3, 'backoff'],
  ['on-unhealthy', 3, 'backoff'],
  ['always', 0, 'backoff'],
] as const)('runAgent() calls a module with policy %s that ends with %i "%s"', async (restartPolicy, code, status) => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage(), restartPolicy } }), 200);
  await until(() => readFile(join(rig.dataFolder('digits'), 'pid'), 'utf8'));
  await writeFile(join(rig.dataFolder('digits'), 'code'), String(code));
  const ended = await until(async () => {
    const module = (await rig.twin()).properties.reported.modules?.['digits'];
    return module !== undefined && module.runtimeStatus !== 'running' && module;
  });
  expect(ended).toMatchObject({ runtimeStatus: status, exitCode: code, restartCount: 0 });
});

test('pain 3, one bad registry holds up all: runAgent() starts new modules although the registry of another one never answers', async () => {
  await using rig = await Rig.open();
  await using registry = await silentRegistry();
  await using _agent = rig.startAgent();
  const image = await rig.putImage();
  await rig.deploy({ held: { image: `${registry.host}/test@${noImage}` }, digits: { image } });
  await until(() => readFile(join(rig.dataFolder('digits'), 'pid'), 'utf8'));
  expect((await rig.twin()).properties.reported.modules).not.toHaveProperty('held');
});

test('pain 3, one bad registry holds up all: runAgent() replaces modules although the registry of another one is not there', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const image = await rig.putImage();
  await rig.reported(await rig.deploy({ digits: { image } }), 200);
  const before = await until(() => readFile(join(rig.dataFolder('digits'), 'pid'), 'utf8'));
  const gone = { image: `localhost:1/test@${noImage}` };
  const version = await rig.deploy({ digits: { image, env: { WORD: 'next' } }, gone });
  const { lastDesiredStatus, modules } = await rig.reported(version, 500, 30_000);
  expect(lastDesiredStatus?.description).toContain('localhost:1');
  expect(Object.keys(modules ?? {})).toEqual(['digits']);
  await until(async () => (await readFile(join(rig.dataFolder('digits'), 'pid'), 'utf8')) !== before);
});

test('runAgent() reports why a module took its place without a rehearsal, also after it is started anew', async () => {
  await using rig = await Rig.open();
  const image = await rig.putImage();
  const scoring = await rig.putScoringImage();
  const PortBindings = { '5001/tcp': [{ HostIp: '127.0.0.1', HostPort: '0' }] };
  const modules = { plain: { image }, scoring: { image: scoring, createOptions: { HostConfig: { PortBindings } } } };
  const unproven = async (): Promise<unknown> =>
    ((await rig.twin()).properties.reported as { modelferry?: { unproven?: unknown } }).modelferry?.unproven;
  const expected = { plain: 'it binds no scoring port (5001/tcp) to be asked on' };
  {
    await using _agent = rig.startAgent({ keepModules: true });
    await rig.deploy(modules);
    await until(async () => (await unproven()) !== undefined, { timeoutMs: 30_000 });
    expect(await unproven()).toEqual(expected);
  }
  await using _next = rig.startAgent();
  await rig.deploy({ ...modules, more: { image, status: 'stopped' } });
  await until(async () => Object.keys(((await unproven()) as object | undefined) ?? {}).includes('more'));
  expect(await unproven()).toEqual({ ...expected, more: expected.plain });
}, 120_000);
