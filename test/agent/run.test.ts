import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { resetAgent } from '../../agent/reset.ts';
import { edgeManifest } from '../../shared/edge/build-manifest.ts';
import { createLogger } from '../../shared/log.ts';
import { dockerAnswers } from '../docker.ts';
import { until } from '../until.ts';
import { removeDockerImages } from './docker-leftovers.ts';
import { Rig, waitingScript } from './rig.ts';

const pidOf = (rig: Rig, module: string): Promise<string> => readFile(join(rig.dataFolder(module), 'pid'), 'utf8');

test('runAgent() runs what the hub deploys and the hub counts it as a success', async () => {
  await using rig = await Rig.open();
  const image = await rig.putImage();
  await rig.request('PUT', '/configurations/first', {
    id: 'first',
    content: edgeManifest({ modules: { digits: { image } } }),
    targetCondition: '*',
    priority: 10,
  });
  await using _agent = rig.startAgent();
  const metrics = await until(async () => {
    const configuration = (await rig.request('GET', '/configurations/first')) as {
      systemMetrics: { results: { appliedCount: number; reportedSuccessfulCount: number } };
    };
    const { results } = configuration.systemMetrics;
    return results.reportedSuccessfulCount === 1 && results;
  });
  expect(metrics).toMatchObject({ appliedCount: 1, reportedSuccessfulCount: 1 });
  const { reported } = (await rig.twin()).properties;
  expect(reported.modules).toMatchObject({ digits: { runtimeStatus: 'running', restartCount: 0 } });
});

test('runAgent() replaces a module by another image and removes one that is no longer deployed', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const [first, second] = [await rig.putImage(), await rig.putImage(`${waitingScript}\n# second`)];
  await rig.reported(await rig.deploy({ digits: { image: first }, other: { image: first } }), 200);
  const before = await until(() => pidOf(rig, 'digits'));
  const { modules } = await rig.reported(await rig.deploy({ digits: { image: second } }), 200);
  expect(Object.keys(modules ?? {})).toEqual(['digits']);
  await until(async () => (await pidOf(rig, 'digits')) !== before);
});

test('runAgent() leaves a running module alone when a deployment changes nothing of it', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const image = await rig.putImage();
  await rig.reported(await rig.deploy({ digits: { image } }), 200);
  const before = await until(() => pidOf(rig, 'digits'));
  await rig.reported(
    await rig.deploy({ digits: { image, version: '2', restartPolicy: 'never' }, more: { image } }),
    200,
  );
  expect(await pidOf(rig, 'digits')).toBe(before);
});

test('runAgent() reports 406 and unknown modules when it ends, and ends them', async () => {
  await using rig = await Rig.open();
  const agent = rig.startAgent();
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200);
  const pid = await until(() => pidOf(rig, 'digits'));
  await agent.stop();
  const { reported } = (await rig.twin()).properties;
  expect(reported).toMatchObject({
    lastDesiredStatus: { code: 406 },
    modules: { digits: { runtimeStatus: 'unknown' } },
  });
  await expect(readFile(`/proc/${pid.trim()}/stat`)).rejects.toThrow('ENOENT');
});

test('pain 11, containers made anew at every start: runAgent() takes up modules that were kept, without starting them anew', async () => {
  await using rig = await Rig.open();
  const image = await rig.putImage();
  const first = rig.startAgent({ keepModules: true });
  const version = await rig.deploy({ digits: { image } });
  await rig.reported(version, 200);
  const before = await until(() => pidOf(rig, 'digits'));
  await first.stop();
  await using _second = rig.startAgent();
  await rig.reported(version, 200);
  expect(await pidOf(rig, 'digits')).toBe(before);
});

test('pain 10, no start without the network: runAgent() without the hub starts what was last good from its own disk', async () => {
  await using rig = await Rig.open();
  const first = rig.startAgent();
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200);
  const before = await until(() => pidOf(rig, 'digits'));
  await first.stop();
  await Promise.all([rig.hub.close(), rig.registry.close()]);
  await using _second = rig.startAgent();
  const after = await until(async () => {
    const pid = await pidOf(rig, 'digits');
    return pid !== before && pid;
  });
  expect(after).toMatch(/^\d+\n$/);
});

test('runAgent() starts a module again that ends, and reports it', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200);
  await until(() => pidOf(rig, 'digits'));
  await writeFile(join(rig.dataFolder('digits'), 'code'), '3');
  const failed = await until(async () => {
    const module = (await rig.twin()).properties.reported.modules?.['digits'];
    return module?.runtimeStatus === 'backoff' && module;
  });
  expect(failed).toMatchObject({ exitCode: 3, restartCount: 0 });
});

test.each([
  [417, {}, 'empty configuration'],
  [412, { schemaVersion: '9.0' }, '9.0'],
  [400, { schemaVersion: '1.1', modules: { m: {} } }, 'modules.m'],
] as const)(
  'pain 9, a typo stops everything: runAgent() reports %i, says why, and lets run what runs',
  async (code, desired, words) => {
    await using rig = await Rig.open();
    await using _agent = rig.startAgent();
    await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200);
    const before = await until(() => pidOf(rig, 'digits'));
    const { lastDesiredStatus, modules } = await rig.reported(await rig.setDesired(desired), code);
    expect(lastDesiredStatus?.description).toContain(words);
    expect(modules).toMatchObject({ digits: { runtimeStatus: 'running' } });
    expect(await pidOf(rig, 'digits')).toBe(before);
  },
);

test('runAgent() reports 500 with the reason when an image cannot be had, and the module before runs on', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200);
  const before = await until(() => pidOf(rig, 'digits'));
  const missing = `${rig.registry.host}/test@sha256:${'0'.repeat(64)}`;
  const { lastDesiredStatus } = await rig.reported(await rig.deploy({ digits: { image: missing } }), 500);
  expect(lastDesiredStatus?.description).toContain('has no such image');
  expect(await pidOf(rig, 'digits')).toBe(before);
});

test('runAgent() updates a module although another one of the deployment cannot be had', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const image = await rig.putImage();
  await rig.reported(await rig.deploy({ digits: { image }, other: { image } }), 200);
  const [digits, other] = await until(() => Promise.all([pidOf(rig, 'digits'), pidOf(rig, 'other')]));
  const missing = `${rig.registry.host}/test@sha256:${'0'.repeat(64)}`;
  await rig.reported(await rig.deploy({ digits: { image, env: { WORD: 'new' } }, other: { image: missing } }), 500);
  await until(async () => (await pidOf(rig, 'digits')) !== digits);
  expect(await pidOf(rig, 'other')).toBe(other);
});

test('runAgent() answers direct methods as IoT Edge does', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage(), env: { WORD: 'xyzzy' } } }), 200);
  const before = await until(() => pidOf(rig, 'digits'));
  expect(await rig.callMethod('PING', null)).toMatchObject({ status: 200 });
  expect(await rig.callMethod('Dance', null)).toMatchObject({
    status: 400,
    payload: { message: expect.stringContaining("Command 'Dance' not found") },
  });
  const logs = {
    schemaVersion: '1.0',
    items: { id: 'digits', filter: { tail: 5 } },
    encoding: 'none',
    contentType: 'text',
  };
  expect(await rig.callMethod('GetModuleLogs', logs)).toMatchObject({
    status: 200,
    payload: [{ id: 'digits', payload: 'hello from digits, xyzzy\n' }],
  });
  expect(await rig.callMethod('GetModuleLogs', { items: 5 })).toMatchObject({ status: 400 });
  expect(await rig.callMethod('RestartModule', { schemaVersion: '1.0', id: 'digits' })).toMatchObject({ status: 200 });
  await until(async () => (await pidOf(rig, 'digits')) !== before);
  expect(await rig.callMethod('RestartModule', { schemaVersion: '1.0', id: 'nobody' })).toMatchObject({ status: 500 });
});

test('runAgent() refuses to go on with a key that the hub has never known', async () => {
  await using rig = await Rig.open();
  const connectionString = rig.connectionString.replace(/SharedAccessKey=.*/, `SharedAccessKey=${btoa('wrong')}`);
  await expect(rig.startAgent({ connectionString }).ended).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' });
});

test('pain 3, a bad image is not rolled back: runAgent() brings back what ran before a module that ends again and again', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage(), env: { WORD: 'good' } } }), 200);
  const bad = await rig.putImage('echo "cannot load the model"; exit 3');
  const { lastDesiredStatus } = await rig.reported(await rig.deploy({ digits: { image: bad } }), 500, 25_000);
  expect(lastDesiredStatus?.description).toMatch(
    /Taken back.*"digits".*ended by itself 2 times.*exit code 3.*cannot load the model/s,
  );
  await until(async () => {
    const answer = await rig.callMethod('GetModuleLogs', { schemaVersion: '1.0', items: { id: 'digits' } });
    return JSON.stringify(answer.payload).includes('good');
  });
});

test('runAgent() tries a deployment that it took back again when only the version of its module has changed', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200);
  const image = await rig.putImage(`[ -f "$MODELFERRY_DATA_DIR/fixed" ] || exit 3\n${waitingScript}`);
  await rig.reported(await rig.deploy({ digits: { image } }), 500, 25_000);
  await writeFile(join(rig.dataFolder('digits'), 'fixed'), '');
  const { lastDesiredStatus } = await rig.reported(await rig.deploy({ digits: { image } }), 500);
  expect(lastDesiredStatus?.description).toMatch(/^Taken back/);
  const { modules } = await rig.reported(await rig.deploy({ digits: { image, version: '2' } }), 200, 25_000);
  expect(modules).toMatchObject({ digits: { runtimeStatus: 'running', settings: { image } } });
  // And what runs goes on where nothing else changes.
  const pid = await until(() => pidOf(rig, 'digits'));
  await rig.reported(await rig.deploy({ digits: { image, version: '3' } }), 200, 25_000);
  expect(await pidOf(rig, 'digits')).toBe(pid);
});

async function ownerOf(rig: Rig): Promise<string> {
  const text = await readFile(join(rig.stateFolder, 'agent.json'), 'utf8');
  return (JSON.parse(text) as { owner: string }).owner;
}

/** Gives what a Docker engine has of an agent's containers. */
async function dockerContainers(rig: Rig, owner?: string): Promise<{ Id: string; State: string }[]> {
  const { default: Docker } = await import('dockerode');
  const filters = JSON.stringify({ label: [`modelferry.owner=${owner ?? (await ownerOf(rig))}`] });
  return new Docker().listContainers({ all: true, filters });
}

if (!dockerAnswers) console.warn('no Docker engine answers: the tests of the agent with Docker are skipped');

test.skipIf(!dockerAnswers)(
  'runAgent() with Docker runs, takes up, replaces and stops modules, and resetAgent() removes them',
  async () => {
    await using rig = await Rig.open();
    const [first, second] = [await rig.putImage(), await rig.putImage(`${waitingScript}\n# second`)];
    const before = rig.startAgent({ engine: 'docker', keepModules: true });
    const version = await rig.deploy({ digits: { image: first } });
    await rig.reported(version, 200, 25_000);
    const [running] = await dockerContainers(rig);
    expect(running?.State).toBe('running');
    await before.stop();
    const agent = rig.startAgent({ engine: 'docker' });
    await rig.reported(version, 200, 25_000);
    expect((await dockerContainers(rig)).map(({ Id }) => Id)).toEqual([running?.Id]);
    await rig.reported(await rig.deploy({ digits: { image: second } }), 200, 25_000);
    const after = await dockerContainers(rig);
    expect(after).toMatchObject([{ State: 'running' }]);
    expect(after[0]?.Id).not.toBe(running?.Id);
    await agent.stop();
    expect(await dockerContainers(rig)).toMatchObject([{ State: 'exited' }]);
    const owner = await ownerOf(rig);
    await resetAgent(rig.stateFolder, createLogger('test', { level: 'silent' }));
    expect(await dockerContainers(rig, owner)).toEqual([]);
    // The agent itself removes what was replaced only after days.
    await removeDockerImages([first]);
  },
);

/** A registry that takes every question and never answers. */
async function openSilentRegistry(): Promise<
  { readonly image: string; readonly asked: () => number } & AsyncDisposable
> {
  let asked = 0;
  const server = createServer(() => (asked += 1)).listen(0, '127.0.0.1');
  await until(() => server.listening);
  return {
    image: `127.0.0.1:${(server.address() as AddressInfo).port}/test@sha256:${'1'.repeat(64)}`,
    asked: () => asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

test('pain 4, a crashed module is not started again during a pull: runAgent() starts it again', async () => {
  await using rig = await Rig.open();
  await using silent = await openSilentRegistry();
  await using _agent = rig.startAgent();
  const image = await rig.putImage();
  await rig.reported(await rig.deploy({ digits: { image } }), 200);
  const before = await until(() => pidOf(rig, 'digits'));
  await rig.deploy({ digits: { image }, slow: { image: silent.image } });
  await until(() => silent.asked() > 0);
  process.kill(Number(before), 'SIGKILL');
  const after = await until(
    async () => {
      const pid = await pidOf(rig, 'digits');
      return pid !== before && pid;
    },
    { timeoutMs: 20_000 },
  );
  expect(after).toMatch(/^\d+\n$/);
  expect(silent.asked()).toBe(1);
});

test('runAgent() lets a newer deployment win over one whose image is being pulled', async () => {
  await using rig = await Rig.open();
  await using silent = await openSilentRegistry();
  await using _agent = rig.startAgent();
  await rig.deploy({ digits: { image: silent.image } });
  await until(() => silent.asked() > 0);
  const { modules } = await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200);
  expect(modules).toMatchObject({ digits: { runtimeStatus: 'running' } });
});

test('runAgent() ends in time while an image is being pulled', async () => {
  await using rig = await Rig.open();
  await using silent = await openSilentRegistry();
  const agent = rig.startAgent();
  await rig.deploy({ digits: { image: silent.image } });
  await until(() => silent.asked() > 0);
  const before = performance.now();
  await agent.stop();
  expect(performance.now() - before).toBeLessThan(5_000);
  expect((await rig.twin()).properties.reported.lastDesiredStatus?.code).toBe(406);
});
