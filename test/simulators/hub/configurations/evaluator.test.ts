import { expect, test } from 'vitest';
import { openHubRig } from '../../../conformance/hub-rig.ts';
import { until } from '../../../until.ts';

test('a deployment that was made before there is any device reaches the first one', async () => {
  await using rig = await openHubRig();
  const put = await rig.rest('PUT', '/configurations/early?api-version=2021-04-12', {
    body: {
      id: 'early',
      targetCondition: "deviceId = 'first'",
      priority: 1,
      content: {
        modulesContent: {
          $edgeAgent: { 'properties.desired': { schemaVersion: '1.1' } },
          $edgeHub: { 'properties.desired': { schemaVersion: '1.1' } },
        },
      },
    },
  });
  expect(put.status).toBe(201);
  await rig.rest('PUT', '/devices/first?api-version=2021-04-12', {
    body: { deviceId: 'first', capabilities: { iotEdge: true } },
  });
  const twin = await until(async () => {
    const { body } = await rig.rest('GET', '/twins/first/modules/%24edgeAgent?api-version=2021-04-12');
    return body.configurations?.early === undefined ? undefined : body;
  });
  expect(twin).toMatchObject({ configurations: { early: { status: 'Applied' } } });
});
