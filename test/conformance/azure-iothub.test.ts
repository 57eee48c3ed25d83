import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { openHubRig } from './hub-rig.ts';

test('devices: create, get, update, list, delete', async () => {
  await using rig = await openHubRig();
  const created = (await rig.registry.create({ deviceId: 'device-1' })).responseBody;
  expect(created).toMatchObject({ deviceId: 'device-1', status: 'enabled', connectionState: 'Disconnected' });
  expect(created.authentication?.symmetricKey?.primaryKey).toMatch(/^[A-Za-z0-9+/]{43}=$/);
  await rig.registry.update({ deviceId: 'device-1', status: 'disabled', statusReason: 'lost' });
  expect((await rig.registry.get('device-1')).responseBody).toMatchObject({ status: 'disabled', statusReason: 'lost' });
  expect((await rig.registry.list()).responseBody.map(({ deviceId }) => deviceId)).toEqual(['device-1']);
  await rig.registry.delete('device-1');
  await expect(rig.registry.get('device-1')).rejects.toMatchObject({ name: 'DeviceNotFoundError' });
});

test('an IoT Edge device gets its two system modules with their twins, and a scope', async () => {
  await using rig = await openHubRig();
  const { responseBody: device } = await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
  expect(device).toMatchObject({
    deviceScope: `ms-azure-iot-edge://edge-1-${(device as { generationId?: string }).generationId}`,
  });
  const modules = (await rig.registry.getModulesOnDevice('edge-1')).responseBody;
  expect(modules.map(({ moduleId }) => moduleId)).toEqual(['$edgeAgent', '$edgeHub']);
  const { responseBody: twin } = await rig.registry.getModuleTwin('edge-1', '$edgeAgent');
  expect(twin).toMatchObject({ moduleId: '$edgeAgent', properties: { desired: { $version: 1 } } });
  await expect(rig.registry.removeModule('edge-1', '$edgeAgent')).rejects.toThrow(/the system's own/);
});

test('modules: add, update, get, remove', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  await rig.registry.addModule({ deviceId: 'device-1', moduleId: 'camera' });
  const { responseBody: module } = await rig.registry.getModule('device-1', 'camera');
  expect(module).toMatchObject({ deviceId: 'device-1', moduleId: 'camera', connectionState: 'Disconnected' });
  await rig.registry.updateModule({ ...module, managedBy: 'me' });
  expect((await rig.registry.getModule('device-1', 'camera')).responseBody).toMatchObject({ managedBy: 'me' });
  await rig.registry.removeModule('device-1', 'camera');
  await expect(rig.registry.getModule('device-1', 'camera')).rejects.toThrow(/not found/i);
});

test('twins: patch merges, null removes, arrays replace, a stale entity tag is refused', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  const first = (await rig.registry.getTwin('device-1')).responseBody;
  await rig.registry.updateTwin(
    'device-1',
    { tags: { site: 'a', gone: 1 }, properties: { desired: { list: ['a', 'b'], deep: { x: 1, y: 2 } } } },
    first.etag,
  );
  await rig.registry.updateTwin(
    'device-1',
    { tags: { gone: null }, properties: { desired: { list: ['x'], deep: { y: null } } } },
    '*',
  );
  const { responseBody: twin } = await rig.registry.getTwin('device-1');
  expect(twin.tags).toEqual({ site: 'a' });
  expect(twin.properties.desired).toMatchObject({ list: ['x'], deep: { x: 1 }, $version: 3 });
  expect(twin.properties.desired['$metadata']).toMatchObject({
    deep: { $lastUpdatedVersion: 3, x: { $lastUpdatedVersion: 2 } },
  });
  await expect(rig.registry.updateTwin('device-1', { tags: { a: 1 } }, first.etag)).rejects.toMatchObject({
    name: 'InvalidEtagError',
  });
});

test('queries: paged, projected, counted and grouped', async () => {
  await using rig = await openHubRig();
  for (let index = 0; index < 5; index += 1) {
    await rig.registry.create({ deviceId: `device-${index}` });
    await rig.registry.updateTwin(`device-${index}`, { tags: { site: index < 2 ? 'a' : 'b', index } }, '*');
  }
  const query = rig.registry.createQuery("SELECT * FROM devices WHERE tags.site = 'b'", 2);
  const found: string[] = [];
  while (query.hasMoreResults) {
    const { result } = await query.nextAsTwin();
    found.push(...result.map(({ deviceId }: { readonly deviceId: string }) => deviceId));
  }
  expect(found).toEqual(['device-2', 'device-3', 'device-4']);
  const ask = async (text: string): Promise<unknown> => (await rig.registry.createQuery(text).next()).result;
  expect(await ask('SELECT COUNT() AS totalNumber FROM devices')).toEqual([{ totalNumber: 5 }]);
  expect(await ask('SELECT tags.site AS site, COUNT() AS n FROM devices GROUP BY tags.site')).toEqual([
    { site: 'a', n: 2 },
    { site: 'b', n: 3 },
  ]);
  await expect(ask('SELECT FROM')).rejects.toMatchObject({ name: 'ArgumentError' });
});

const agentDesired = {
  schemaVersion: '1.1',
  runtime: { type: 'docker', settings: { minDockerVersion: 'v1.25' } },
  systemModules: {
    edgeAgent: { type: 'docker', settings: { image: 'mcr.microsoft.com/azureiotedge-agent:1.5' } },
    edgeHub: { type: 'docker', status: 'running', restartPolicy: 'always', settings: { image: 'hub:1.5' } },
  },
  modules: {},
};

test('deployments: targeted, applied, counted; layers merge; content is immutable', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
  await rig.registry.create({ deviceId: 'plain-1' });
  await rig.registry.updateTwin('edge-1', { tags: { environment: 'test' } }, '*');
  const targetCondition = "tags.environment='test'";
  const base = {
    $edgeAgent: { 'properties.desired': agentDesired },
    $edgeHub: { 'properties.desired': { schemaVersion: '1.1', routes: {} } },
  };
  await rig.registry.addConfiguration({
    id: 'base',
    schemaVersion: '1.0',
    priority: 10,
    targetCondition,
    content: { modulesContent: base },
  });
  const module = {
    version: '1.0',
    type: 'docker',
    status: 'running',
    restartPolicy: 'always',
    settings: { image: 'digits:1' },
  };
  const layer = {
    $edgeAgent: { 'properties.desired.modules.digits': module },
    digits: { 'properties.desired': { threshold: 0.5 } },
  };
  await rig.registry.addConfiguration({
    id: 'layer',
    schemaVersion: '1.0',
    priority: 11,
    targetCondition,
    content: { modulesContent: layer },
  });
  const twin = await until(async () => {
    const { responseBody } = await rig.registry.getModuleTwin('edge-1', '$edgeAgent');
    return (responseBody as { configurations?: object }).configurations === undefined ? undefined : responseBody;
  });
  await rig.hub.settled();
  const agent = (await rig.registry.getModuleTwin('edge-1', '$edgeAgent')).responseBody;
  expect(agent).toMatchObject({ configurations: { base: { status: 'Applied' }, layer: { status: 'Applied' } } });
  expect(agent.properties.desired['modules']).toEqual({ digits: module });
  expect((await rig.registry.getModuleTwin('edge-1', 'digits')).responseBody.properties.desired).toMatchObject({
    threshold: 0.5,
  });
  expect(twin).toBeDefined();
  const { responseBody: counted } = await rig.registry.getConfiguration('base');
  expect(counted.systemMetrics?.results).toEqual({
    targetedCount: 1,
    appliedCount: 1,
    reportedSuccessfulCount: 0,
    reportedFailedCount: 0,
  });
  await expect(
    rig.registry.updateConfiguration({ ...counted, content: { modulesContent: { $edgeAgent: {} } } }, true),
  ).rejects.toThrow(/cannot be changed/);
  await rig.registry.removeConfiguration('layer');
  await rig.hub.settled();
  expect((await rig.registry.getModuleTwin('edge-1', '$edgeAgent')).responseBody.properties.desired['modules']).toEqual(
    {},
  );
});

test('a deployment counts as successful when the agent says so', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
  const content = { modulesContent: { $edgeAgent: { 'properties.desired': agentDesired } } };
  await rig.registry.addConfiguration({ id: 'all', schemaVersion: '1.0', priority: 1, targetCondition: '*', content });
  await rig.hub.settled();
  const agent = await rig.systemModule('edge-1', '$edgeAgent');
  const twin = await agent.getTwin();
  expect(twin.properties.desired).toMatchObject({ schemaVersion: '1.1', $version: 2 });
  await new Promise<void>((resolve, reject) => {
    const report = { lastDesiredVersion: 2, lastDesiredStatus: { code: 200, description: '' } };
    const reported = twin.properties.reported as { update: (patch: object, done: (error?: Error) => void) => void };
    reported.update(report, (error) => (error ? reject(error) : resolve()));
  });
  const { responseBody } = await rig.registry.getConfiguration('all');
  expect(responseBody.systemMetrics?.results).toMatchObject({ reportedSuccessfulCount: 1, reportedFailedCount: 0 });
});

test('applyConfigurationContentOnDevice() sets the modules of one device', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
  const content = {
    modulesContent: { $edgeAgent: { 'properties.desired': agentDesired }, mod: { 'properties.desired': { a: 1 } } },
  };
  await rig.registry.applyConfigurationContentOnDevice('edge-1', content);
  expect((await rig.registry.getModuleTwin('edge-1', 'mod')).responseBody.properties.desired).toMatchObject({
    a: 1,
    $version: 2,
  });
});

test('a token that is wrong or may not do this is refused as the hub refuses', async () => {
  await using rig = await openHubRig();
  const wrong = await rig.rest('GET', '/devices/a?api-version=2021-04-12', {
    headers: { authorization: 'SharedAccessSignature sr=x' },
  });
  expect(wrong).toMatchObject({ status: 401, headers: { 'iothub-errorcode': 'IotHubUnauthorizedAccess' } });
  expect(wrong.body.Message).toMatch(/^ErrorCode:IotHubUnauthorizedAccess;/);
  expect(wrong.body.ExceptionMessage).toMatch(
    /^Tracking ID:[0-9A-F]{32}-G:\d+-TimeStamp:\d\d\/\d\d\/\d{4} \d\d:\d\d:\d\d$/,
  );
  const reader = rig.sign('registryRead');
  expect(
    await rig.rest('GET', '/devices?api-version=2021-04-12', { headers: { authorization: reader } }),
  ).toMatchObject({ status: 200 });
  expect(
    await rig.rest('PUT', '/devices/a?api-version=2021-04-12', {
      headers: { authorization: reader },
      body: { deviceId: 'a' },
    }),
  ).toMatchObject({ status: 401 });
  expect(await rig.rest('GET', '/devices')).toMatchObject({ status: 400 });
});
