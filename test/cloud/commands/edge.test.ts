import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { edgeManifest } from '../../../shared/edge/build-manifest.ts';
import { runFerry } from '../../ferry.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { openEdgeRig } from '../edge-rig.ts';

test('ferry edge device add writes the connection string where it is asked to, for its owner alone', async () => {
  await using rig = await openEdgeRig();
  const cwd = rig.folder;
  const { stdout } = await runFerry(
    ['edge', 'device', 'add', 'gw-1', '--tag', 'site=lab', '--connection-string-file', 'device.txt'],
    { cwd },
  );
  const secret = (await readFile(join(cwd, 'device.txt'), 'utf8')).trim();
  expect(secret).toBe(rig.hub.deviceConnectionString('gw-1'));
  expect((await stat(join(cwd, 'device.txt'))).mode & 0o777).toBe(0o600);
  expect(stdout).toMatch(/device +gw-1\n/);
  expect(stdout).not.toContain('SharedAccessKey');
  const shown = await runFerry(['edge', 'device', 'show', 'gw-1', '--show-connection-string'], { cwd });
  expect(shown.stdout).toContain(secret);
  const json = await runFerry(['edge', 'device', 'show', 'gw-1', '--json'], { cwd });
  expect(JSON.parse(json.stdout)).toMatchObject({
    deviceId: 'gw-1',
    connected: false,
    tags: { site: 'lab' },
    connectionString: secret,
  });
});

test('ferry edge device add makes no device when its connection string could not be kept', async () => {
  await using rig = await openEdgeRig();
  const args = ['edge', 'device', 'add', 'gw-1', '--connection-string-file', 'none/device.txt'];
  const { code, stderr } = await runFerry(args, { cwd: rig.folder });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^error FILE_UNWRITABLE: /);
  await expect(rig.client.getDevice('gw-1')).rejects.toMatchObject({ code: 'DEVICE_NOT_FOUND' });
});

test('ferry edge device list and remove', async () => {
  await using rig = await openEdgeRig();
  const cwd = rig.folder;
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const listed = await runFerry(['edge', 'device', 'list', '--json'], { cwd });
  expect(JSON.parse(listed.stdout)).toEqual([
    expect.objectContaining({ deviceId: 'elsewhere', tags: {} }),
    expect.objectContaining({ deviceId: 'gw-1', tags: { site: 'lab' }, connected: false, deployments: {} }),
  ]);
  expect((await runFerry(['edge', 'device', 'remove', 'gw-1'], { cwd })).code).toBe(0);
  const again = await runFerry(['edge', 'device', 'remove', 'gw-1'], { cwd });
  expect(again.code).toBe(1);
  expect(again.stderr).toMatch(/^error DEVICE_NOT_FOUND: Cannot remove the device "gw-1": /);
});

test('ferry edge device list says which generation of its desired properties a device has attempted', async () => {
  await using rig = await openEdgeRig();
  const cwd = rig.folder;
  await rig.client.addEdgeDevice('gw-1', {});
  const { registry, twins } = rig.hub.parts;
  const agent = { deviceId: 'gw-1', moduleId: '$edgeAgent' };
  twins.setDesired(agent, { modules: {} });
  const { version } = registry.at(agent).twin.desired;
  const list = async (...more: readonly string[]) =>
    (await runFerry(['edge', 'device', 'list', '--where', "deviceId = 'gw-1'", ...more], { cwd })).stdout;
  expect(await list()).toContain(` 0 of ${version} `);
  twins.report(agent, { lastDesiredVersion: version });
  expect(JSON.parse(await list('--json'))).toMatchObject([{ generation: { desired: version, attempted: version } }]);
  expect((await runFerry(['edge', 'device', 'show', 'gw-1'], { cwd })).stdout).toMatch(
    new RegExp(`generation +${version}\n`),
  );
});

test('ferry edge device list and show tell all that an operator asks of a device', async () => {
  await using rig = await openEdgeRig();
  const cwd = rig.folder;
  const { database } = rig.workspace;
  // The model itself is not needed to tell which one it is.
  database.pragma('foreign_keys = OFF');
  database.prepare("INSERT INTO image_models VALUES ('digits', 1, 'digits-mlp', 7)").run();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  await rig.client.addDeployment({
    id: 'digits-new',
    content: { modulesContent: edgeManifest({ modules: { digits: { image: 'localhost/digits:2' } } }).modulesContent },
    targetCondition: "deviceId = 'gw-1'",
    priority: 3,
    labels: {},
  });
  const { twins, registry } = rig.hub.parts;
  const agent = { deviceId: 'gw-1', moduleId: '$edgeAgent' };
  const stream = { service: 's', model: 'm', version: 1, designation: 'inputs', collected: 9, uploaded: 4 };
  {
    await using device = await rig.connectAgent('gw-1');
    await device.report(
      { code: 500, description: 'module digits: no room' },
      { digits: { runtimeStatus: 'backoff', exitCode: 137, restartCount: 3, settings: { image: rig.image } } },
    );
    twins.report(agent, {
      modelferry: { clockSkewSeconds: 90_000, lastUploadUtc: '2026-12-02T01:00:00.000Z' },
      collection: { digits: { bufferedBytes: 10, streams: { 0: { ...stream, buffered: 5, quarantined: 0 } } } },
    });
    const listed = await runFerry(['edge', 'device', 'list', '--where', "deviceId = 'gw-1'"], { cwd });
    const { version } = registry.at(agent).twin.desired;
    expect(columnsOf(listed.stdout)).toEqual({
      device: 'gw-1',
      connected: 'yes',
      state: 'failed',
      tags: 'site=lab',
      deployment: 'digits-new',
      generation: String(version),
      version: 'digits:1 (localhost/digits:2 wanted)',
      model: 'digits-mlp:7',
      modules: '1 backoff',
      buffered: '5',
      'last upload': '2026-12-01T00:00:00.000Z',
      skew: '90000 s',
    });
  }
  await until(async () => (await rig.client.getTwin('gw-1', '$edgeAgent')).connectionState === 'Disconnected');
  const shown = await runFerry(['edge', 'device', 'show', 'gw-1'], { cwd });
  for (const line of [
    /^connected +no, last seen \d{4}-\d\d-\d\dT\S+Z$/m,
    /^state +failed$/m,
    /^models +digits: digits-mlp:7$/m,
    /^deployment +digits-new$/m,
    /^outcome +500 module digits: no room$/m,
    /^modules +digits: backoff, exit code 137, restarted 3 times$/m,
    /^rows on the device +5$/m,
    /^last upload +2026-12-01T00:00:00.000Z$/m,
    /^clock ahead of the hub +90000 s$/m,
  ]) {
    expect(shown.stdout).toMatch(line);
  }
});

test('ferry edge deployment list, show and delete', async () => {
  await using rig = await openEdgeRig();
  const cwd = rig.folder;
  const common = { content: { modulesContent: { $edgeAgent: {} } }, targetCondition: '*', labels: {} };
  await rig.client.addDeployment({ ...common, id: 'low', priority: 1 });
  const registryCredentials = { own: { address: 'registry', username: 'puller', password: 'a-password' } };
  const $edgeAgent = { 'properties.desired': { runtime: { settings: { registryCredentials } } } };
  await rig.client.addDeployment({ ...common, content: { modulesContent: { $edgeAgent } }, id: 'high', priority: 2 });
  const listed = await runFerry(['edge', 'deployment', 'list', '--json'], { cwd });
  expect(JSON.parse(listed.stdout)).toMatchObject([
    { id: 'high', priority: 2 },
    { id: 'low', targetCondition: '*' },
  ]);
  const shown = await runFerry(['edge', 'deployment', 'show', 'high', '--json'], { cwd });
  expect(JSON.parse(shown.stdout)).toMatchObject({
    id: 'high',
    systemMetrics: { targetedCount: 1, appliedCount: 1, reportedSuccessfulCount: 0, reportedFailedCount: 0 },
    manifest: { modulesContent: { $edgeAgent: { 'properties.desired': { runtime: expect.anything() as unknown } } } },
  });
  expect(shown.stdout).toContain('"password": "(secret)"');
  expect(shown.stdout + listed.stdout).not.toContain('a-password');
  await runFerry(['edge', 'deployment', 'delete', 'high'], { cwd });
  const gone = await runFerry(['edge', 'deployment', 'show', 'high'], { cwd });
  expect(gone.stderr).toMatch(/^error DEPLOYMENT_NOT_FOUND: /);
});

test('ferry edge says that a workspace has no hub', async () => {
  await using folder = await temporaryFolder();
  await runFerry(['workspace', 'init'], { cwd: folder.path });
  const { code, stderr } = await runFerry(['edge', 'device', 'list'], { cwd: folder.path });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^error ENDPOINT_MISSING: .* no IoT Hub\nnext: .*ferry up/);
});

/** The first row of a table, by its headings. */
function columnsOf(text: string): Record<string, string> {
  const [heads = '', row = ''] = text.split('\n');
  const found = [...heads.matchAll(/LAST UPLOAD|\S+/g)];
  return Object.fromEntries(
    found.map(({ 0: head, index }, at) => [head.toLowerCase(), row.slice(index, found[at + 1]?.index).trim()]),
  );
}
