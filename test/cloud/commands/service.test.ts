import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { runFerry } from '../../ferry.ts';
import { until } from '../../until.ts';
import { type EdgeRig, openEdgeRig } from '../edge-rig.ts';

const createArgs = [
  'service',
  'create',
  'digits',
  '--image',
  'digits',
  '--target',
  'iotedge',
  '--device-tag',
  'site=lab',
];

/** Reports the service's module as soon as it is asked for. */
async function reportWhenAsked(rig: EdgeRig, module: Readonly<Record<string, unknown>>): Promise<AsyncDisposable> {
  const agent = await rig.connectAgent('gw-1');
  await until(async () => (await agent.desired())['digits'], { what: 'the deployment' });
  await agent.report({ code: 200 }, { digits: { ...module, settings: { image: rig.image } } });
  return agent;
}

test('ferry service create --wait follows the rollout on standard error until it is Healthy', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const created = runFerry([...createArgs, '--collect', '--wait', '--json'], { cwd: rig.folder });
  await using _agent = await reportWhenAsked(rig, { runtimeStatus: 'running' });
  const { code, stdout, stderr } = await created;
  expect(code).toBe(0);
  expect(stderr).toMatch(/^(digits: Transitioning \(gw-1: .*\n)*digits: Healthy\n$/);
  expect(JSON.parse(stdout)).toMatchObject({
    name: 'digits',
    target: 'iotedge',
    image: 'digits:1',
    state: 'Healthy',
    scoringAddress: 'http://127.0.0.1:5001',
    deployment: { image: rig.image },
    settings: { collect: true, deviceTags: { site: 'lab' } },
    instances: [{ name: 'gw-1', state: 'Healthy', connected: true }],
  });
  const listed = await runFerry(['service', 'list', '--json'], { cwd: rig.folder });
  expect(JSON.parse(listed.stdout)).toMatchObject([{ name: 'digits', state: 'Healthy' }]);
});

test('ferry service show --wait fails with what the device says', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  await runFerry(createArgs, { cwd: rig.folder });
  await using _agent = await reportWhenAsked(rig, {
    runtimeStatus: 'failed',
    exitCode: 3,
    statusDescription: 'no model',
  });
  const { code, stderr } = await runFerry(['service', 'show', 'digits', '--wait', '--timeout', '20'], {
    cwd: rig.folder,
  });
  expect(code).toBe(1);
  expect(stderr).toContain(
    'error SERVICE_FAILED: Cannot bring the service "digits" up: it is Failed (gw-1: the module "digits" is failed, exit code 3: no model)',
  );
});

test('ferry service create tells a usage error from a setting that does not hold', async () => {
  await using rig = await openEdgeRig();
  const usage = await runFerry(['service', 'create', 'digits', '--image', 'digits', '--target', 'moon'], {
    cwd: rig.folder,
  });
  expect(usage.code).toBe(2);
  const wrong = await runFerry([...createArgs, '--target-condition', '*', '--host-address', 'gw'], { cwd: rig.folder });
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).toMatch(
    /^error SERVICE_INVALID: .*"gw", an IP address.*; both device tags and a target condition/,
  );
});

test.each([['show'], ['delete'], ['run', '--input', 'rows.json']])(
  'ferry service %s says that there is no such service',
  async (verb, ...more) => {
    await using rig = await openEdgeRig();
    const { code, stderr } = await runFerry(['service', verb, 'digits', ...more], { cwd: rig.folder });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error SERVICE_NOT_FOUND: Cannot find the service "digits": the workspace has none\n/);
  },
);

test('ferry service run sends the file as it is and prints the answer', async () => {
  await using rig = await openEdgeRig();
  const asked: string[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    asked.push(`${request.method} ${request.url} ${await text(request)}`);
    response.statusCode = asked.length > 1 ? 500 : 200;
    response.end(asked.length > 1 ? '{"message":"An unexpected error"}' : '{"label":[7]}');
  };
  await using server = createServer((request, response) => void answer(request, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = String(typeof address === 'object' ? address?.port : 0);
  await runFerry([...createArgs, '--port', port], { cwd: rig.folder });
  await writeFile(join(rig.folder, 'rows.json'), '{"data": [[1]]}');
  const run = ['service', 'run', 'digits', '--input', 'rows.json'];
  expect(JSON.parse((await runFerry(run, { cwd: rig.folder })).stdout)).toEqual({ label: [7] });
  expect(asked).toEqual(['POST /score {"data": [[1]]}']);
  const failed = await runFerry(run, { cwd: rig.folder });
  expect(failed.stderr).toMatch(
    /^error SCORING_FAILED: .*127\.0\.0\.1:\d+\/score answered 500: \{"message":"An unexpected error"\}/,
  );
  const nowhere = await runFerry([...run, '--address', 'http://127.0.0.1:1'], { cwd: rig.folder });
  expect(nowhere.stderr).toMatch(/^error SCORING_FAILED: .*nothing usable answers at http:\/\/127\.0\.0\.1:1\/score/);
});

test('ferry service delete takes the deployment, the module and the record', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  await runFerry(createArgs, { cwd: rig.folder });
  await rig.hub.settled();
  const { code, stdout } = await runFerry(['service', 'delete', 'digits', '--json'], { cwd: rig.folder });
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ name: 'digits', removed: [expect.any(String), 'the module on "gw-1"'] });
  expect(JSON.parse((await runFerry(['service', 'list', '--json'], { cwd: rig.folder })).stdout)).toEqual([]);
  expect(await rig.client.listDeployments()).toEqual([]);
});

test('ferry service delete leaves the service when the hub does not answer', async () => {
  await using rig = await openEdgeRig();
  await runFerry(createArgs, { cwd: rig.folder });
  await rig.hub.close();
  const { code, stderr } = await runFerry(['service', 'delete', 'digits'], { cwd: rig.folder });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^error HUB_UNREACHABLE: .*localhost:\d+ \(ECONNREFUSED\)\nnext: /);
  expect(rig.workspace.database.prepare('SELECT name FROM services').pluck().all()).toEqual(['digits']);
});

test('ferry service list finds services by model, image, target, tag and property, also where a target does not answer', async () => {
  await using rig = await openEdgeRig();
  await runFerry([...createArgs, '--tag', 'area=vision', '--property', 'run=7'], { cwd: rig.folder });
  await rig.hub.close();
  const list = async (...filter: string[]): Promise<{ name: string; state: string; reason: string }[]> => {
    const { code, stdout } = await runFerry(['service', 'list', '--json', ...filter], { cwd: rig.folder });
    expect(code).toBe(0);
    return JSON.parse(stdout) as { name: string; state: string; reason: string }[];
  };
  expect(
    await list('--image', 'digits', '--target', 'iotedge', '--tag', 'area=vision', '--property', 'run'),
  ).toMatchObject([
    { name: 'digits', state: 'Unhealthy', reason: expect.stringContaining('its target cannot be asked') },
  ]);
  for (const filter of [
    ['--image', 'digits:2'],
    ['--target', 'local'],
    ['--tag', 'area=audio'],
    ['--model', 'digits'],
    ['--digest', `sha256:${'0'.repeat(64)}`],
  ]) {
    expect(await list(...filter)).toEqual([]);
  }
});
