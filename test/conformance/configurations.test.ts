import { expect, test } from 'vitest';
import { openHubRig } from './hub-rig.ts';

const version = 'api-version=2021-04-12';

test('device and module configurations set their paths, by priority, and are counted', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  await rig.registry.addModule({ deviceId: 'device-1', moduleId: 'camera' });
  const configure = async (id: string, body: object) =>
    await rig.registry.addConfiguration({ id, schemaVersion: '1.0', ...body });
  await configure('low', {
    priority: 1,
    targetCondition: '*',
    content: { deviceContent: { 'properties.desired.x': 1, 'properties.desired.y': 1 } },
  });
  await configure('high', {
    priority: 2,
    targetCondition: "deviceId = 'device-1'",
    content: { deviceContent: { 'properties.desired.x': 2 } },
  });
  const targetCondition = "from devices.modules where moduleId = 'camera'";
  await configure('lens', {
    priority: 1,
    targetCondition,
    content: { moduleContent: { 'properties.desired.lens': { zoom: 2 } } },
  });
  await rig.hub.settled();
  const twin = (await rig.registry.getTwin('device-1')).responseBody;
  expect(twin).toMatchObject({
    properties: { desired: { x: 2, y: 1 } },
    configurations: { low: { status: 'Targeted' }, high: { status: 'Applied' } },
  });
  expect((await rig.registry.getModuleTwin('device-1', 'camera')).responseBody.properties.desired).toMatchObject({
    lens: { zoom: 2 },
  });
  const counted = async (id: string) => (await rig.registry.getConfiguration(id)).responseBody.systemMetrics?.results;
  expect(await counted('low')).toEqual({ targetedCount: 1, appliedCount: 0 });
  expect(await counted('high')).toEqual({ targetedCount: 1, appliedCount: 1 });
  expect(await counted('lens')).toEqual({ targetedCount: 1, appliedCount: 1 });
});

test('the queries of the system metrics can be run as they are', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
  const content = { modulesContent: { $edgeAgent: { 'properties.desired': { schemaVersion: '1.1' } } } };
  const targetCondition = "tags.a = 'x' or deviceId = 'edge-1'";
  await rig.registry.addConfiguration({ id: 'edge', schemaVersion: '1.0', priority: 1, targetCondition, content });
  await rig.hub.settled();
  const { systemMetrics } = (await rig.registry.getConfiguration('edge')).responseBody;
  const lengths = Object.entries(systemMetrics?.queries ?? {}).map(
    async ([name, query]) => [name, (await rig.registry.createQuery(query).next()).result.length] as const,
  );
  expect(Object.fromEntries(await Promise.all(lengths))).toEqual(systemMetrics?.results);
});

test('custom metrics are counted, and bad queries and conditions are named before they do harm', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
  const content = { modulesContent: { $edgeAgent: { 'properties.desired': {} } } };
  const metrics = { queries: { all: 'SELECT deviceId FROM devices' } };
  await rig.registry.addConfiguration({ id: 'edge', schemaVersion: '1.0', targetCondition: '', content, metrics });
  expect((await rig.registry.getConfiguration('edge')).responseBody).toMatchObject({
    metrics: { results: { all: 1 } },
    systemMetrics: { results: { targetedCount: 0 } },
  });
  const tested = await rig.rest('POST', `/configurations/testQueries?${version}`, {
    body: { targetCondition: 'tags.', customMetricQueries: { good: 'SELECT * FROM devices', bad: 'SELECT' } },
  });
  expect(tested).toMatchObject({
    status: 200,
    body: { targetConditionError: expect.any(String), customMetricQueryErrors: { bad: expect.any(String) } },
  });
  const put = async (body: object) =>
    (await rig.rest('PUT', `/configurations/new?${version}`, { body: { id: 'new', content, ...body } })).headers[
      'iothub-errorcode'
    ];
  expect(await put({ targetCondition: 'tags.' })).toBe('InvalidConfigurationTargetCondition');
  expect(await put({ content: { modulesContent: {} } })).toBe('InvalidConfigurationContent');
  expect(await put({ content: { modulesContent: { $edgeAgent: { 'properties.reported': {} } } } })).toBe(
    'InvalidConfigurationContent',
  );
  expect(await put({ metrics: { queries: { bad: 'SELECT' } } })).toBe('InvalidConfigurationCustomMetricsQuery');
  expect(await put({ id: 'other' })).toBe('ArgumentInvalid');
  const upper = await rig.rest('PUT', `/configurations/Upper?${version}`, { body: { id: 'Upper', content } });
  expect(upper).toMatchObject({ status: 400 });
  const again = await rig.rest('PUT', `/configurations/edge?${version}`, { body: { id: 'edge', content } });
  expect(again).toMatchObject({ status: 409, headers: { 'iothub-errorcode': 'ConfigurationAlreadyExists' } });
  expect((await rig.registry.getConfigurations()).responseBody.map(({ id }) => id)).toEqual(['edge']);
});

test('a device falls to the next deployment when its own goes, and keeps what it has when none is left', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
  for (const [index, id] of ['low', 'high'].entries()) {
    const content = { modulesContent: { $edgeAgent: { 'properties.desired': { from: id } } } };
    await rig.registry.addConfiguration({ id, schemaVersion: '1.0', priority: index, targetCondition: '*', content });
  }
  const desired = async () => {
    await rig.hub.settled();
    return (await rig.rest('GET', `/twins/edge-1/modules/%24edgeAgent?${version}`)).body;
  };
  expect(await desired()).toMatchObject({ properties: { desired: { from: 'high' } } });
  await rig.registry.removeConfiguration('high');
  expect(await desired()).toMatchObject({
    properties: { desired: { from: 'low' } },
    configurations: { low: { status: 'Applied' } },
  });
  await rig.registry.removeConfiguration('low');
  const left = await desired();
  expect(left).toMatchObject({ properties: { desired: { from: 'low' } } });
  expect(left).not.toHaveProperty('configurations');
});
