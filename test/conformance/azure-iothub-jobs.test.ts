import { expect, test } from 'vitest';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';
import { type HubRig, openHubRig } from './hub-rig.ts';

test('scheduleTwinUpdate() changes the twins that meet the condition', async () => {
  await using rig = await openHubRig();
  await rig.registry.addDevices([{ deviceId: 'a' }, { deviceId: 'b' }] as never);
  await rig.registry.updateTwin('a', { tags: { site: 'x' } }, '*');
  await rig.jobs.scheduleTwinUpdate('job-1', "tags.site = 'x'", { etag: '*', tags: { done: true } }, new Date(), 60);
  const job = await ended(rig, 'job-1');
  expect(job).toMatchObject({
    status: 'completed',
    type: 'scheduleUpdateTwin',
    deviceJobStatistics: { deviceCount: 1, succeededCount: 1 },
  });
  expect((await rig.registry.getTwin('a')).responseBody.tags).toEqual({ site: 'x', done: true });
  expect((await rig.registry.getTwin('b')).responseBody.tags).toEqual({});
  const query = rig.registry.createQuery("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'job-1'");
  expect((await query.next()).result).toMatchObject([{ jobId: 'job-1', deviceId: 'a', status: 'completed' }]);
});

test('scheduleDeviceMethod() calls the devices, and says which failed', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('here');
  await rig.registry.create({ deviceId: 'away' });
  client.onDeviceMethod('ping', (_request, response) => void response.send(200, 'pong'));
  await until(() => rig.hub.connectCount('here') === 1);
  const method = { methodName: 'ping', payload: null, responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 0 };
  await rig.jobs.scheduleDeviceMethod('job-2', '*', method, new Date(), 60);
  const job = await ended(rig, 'job-2');
  expect(job).toMatchObject({
    status: 'failed',
    deviceJobStatistics: { deviceCount: 2, succeededCount: 1, failedCount: 1 },
  });
});

test('a job that waits can be cancelled, and jobs are listed', async () => {
  await using rig = await openHubRig();
  await rig.jobs.scheduleTwinUpdate('later', '*', { etag: '*', tags: {} }, new Date(Date.now() + 3_600_000), 60);
  expect(await rig.rest('GET', '/jobs/v2/later?api-version=2021-04-12')).toMatchObject({
    body: { status: 'scheduled' },
  });
  await rig.jobs.cancelJob('later');
  expect(await ended(rig, 'later')).toMatchObject({ status: 'cancelled' });
  const query = rig.jobs.createQuery();
  expect((await query.next()).result).toMatchObject([{ jobId: 'later' }]);
  await expect(rig.jobs.getJob('nothing')).rejects.toMatchObject({
    responseBody: expect.stringContaining('JobNotFound'),
  });
});

test('jobs are listed by pages, of a type and a status, and in the order of before after a restart', async () => {
  await using folder = await temporaryFolder();
  const list = async (rig: HubRig, ...filter: string[]) => {
    const query = rig.jobs.createQuery(filter[0] as never, filter[1] as never, 2);
    const pages: string[][] = [];
    while (query.hasMoreResults) {
      const { result } = await query.next(query.continuationToken);
      pages.push((result as unknown as readonly { readonly jobId: string }[]).map(({ jobId }) => jobId));
    }
    return pages;
  };
  const pages = [['z', 'y'], ['x', 'a'], ['b']];
  {
    await using rig = await openHubRig({ folder: folder.path });
    const later = new Date(Date.now() + 3_600_000);
    for (const id of ['z', 'y', 'x', 'a', 'b']) {
      await rig.jobs.scheduleTwinUpdate(id, '*', { etag: '*', tags: {} }, later, 60);
      // Jobs of one millisecond have no order among them.
      const created = Date.now();
      await until(() => Date.now() > created);
    }
    await rig.jobs.cancelJob('x');
    expect(await list(rig)).toEqual(pages);
    expect(await list(rig, 'scheduleUpdateTwin', 'cancelled')).toEqual([['x']]);
    expect(await list(rig, 'scheduleDeviceMethod')).toEqual([[]]);
  }
  await using rig = await openHubRig({ folder: folder.path });
  expect(await list(rig)).toEqual(pages);
});

test('bulk: devices are added, updated and removed, and failures are named', async () => {
  await using rig = await openHubRig();
  const added = await rig.registry.addDevices([{ deviceId: 'a' }, { deviceId: 'b' }] as never);
  expect(added.responseBody).toMatchObject({ isSuccessful: true, errors: [] });
  await rig.registry.updateDevices([{ deviceId: 'a', status: 'disabled' }] as never, true);
  expect((await rig.registry.get('a')).responseBody.status).toBe('disabled');
  const again = await rig.rest('POST', '/devices?api-version=2021-04-12', {
    body: [
      { id: 'a', importMode: 'create' },
      { id: 'c', importMode: 'create' },
    ],
  });
  expect(again).toMatchObject({
    status: 400,
    body: { isSuccessful: false, errors: [{ deviceId: 'a', errorCode: 'DeviceAlreadyExists' }] },
  });
  await rig.registry.removeDevices([{ deviceId: 'a' }, { deviceId: 'b' }] as never, true);
  expect((await rig.registry.list()).responseBody.map(({ deviceId }) => deviceId)).toEqual(['c']);
  expect((await rig.registry.getRegistryStatistics()).responseBody).toEqual({
    totalDeviceCount: 1,
    enabledDeviceCount: 1,
    disabledDeviceCount: 0,
  });
});

async function ended(rig: HubRig, jobId: string): Promise<unknown> {
  return await until(async () => {
    const { body } = await rig.rest('GET', `/jobs/v2/${jobId}?api-version=2021-04-12`);
    return body.endTime === undefined ? undefined : (body as unknown);
  });
}
