import { SharedAccessSignature } from 'azure-iot-common';
import { expect, test } from 'vitest';
import { type HubRig, openHubRig, request } from './hub-rig.ts';

// What the runtime of IoT Edge does for its modules. @see Azure/iot-identity-service, aziot-cloud-client-async/src/hub/mod.rs

test.each(['2017-11-08-preview', '2021-04-12'])(
  'an Edge device looks after its modules itself, api-version %s',
  async (version) => {
    await using rig = await openHubRig();
    await rig.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
    const call = asDevice(rig, { deviceId: 'edge-1', version });
    const created = await call('PUT', '/modules/camera', {
      moduleId: 'camera',
      managedBy: 'IotEdge',
      deviceId: 'edge-1',
    });
    expect(created).toMatchObject({
      status: 201,
      body: { moduleId: 'camera', managedBy: 'IotEdge', generationId: expect.stringMatching(/^\d+$/) },
    });
    const key = Buffer.alloc(32, 1).toString('base64');
    const authentication = { type: 'sas', symmetricKey: { primaryKey: key, secondaryKey: key } };
    const body = { moduleId: 'camera', managedBy: 'IotEdge', deviceId: 'edge-1', authentication };
    expect(await call('PUT', '/modules/camera', body, { 'if-match': '*' })).toMatchObject({
      status: 200,
      body: { authentication },
    });
    const keys = { moduleId: '$edgeAgent', deviceId: 'edge-1', authentication };
    expect(await call('PUT', '/modules/%24edgeAgent', keys, { 'if-match': '*' })).toMatchObject({ status: 200 });
    const listed = await call('GET', '/modules');
    expect(listed.body.map(({ moduleId }: { readonly moduleId: string }) => moduleId)).toEqual([
      '$edgeAgent',
      '$edgeHub',
      'camera',
    ]);
    expect(await call('PUT', '/modules/camera', { ...body, moduleId: 'other' })).toMatchObject({ status: 400 });
    expect(await call('DELETE', '/modules/camera', undefined, { 'if-match': '*' })).toMatchObject({ status: 204 });
    const gone = await call('GET', '/modules/camera');
    expect(gone).toMatchObject({ status: 404, body: { Message: expect.stringContaining('ModuleNotFound') } });
  },
);

test('an Edge device may not touch another, nor the registry', async () => {
  await using rig = await openHubRig();
  for (const deviceId of ['edge-1', 'edge-2']) await rig.registry.create({ deviceId, capabilities: { iotEdge: true } });
  const authorization = tokenOf(rig, 'edge-1');
  const version = 'api-version=2021-04-12';
  const asOne = async (method: string, path: string) =>
    await request(rig.agent, { method, path, headers: { authorization }, body: {} });
  expect(await asOne('GET', `/devices/edge-2/modules?${version}`)).toMatchObject({ status: 401 });
  expect(await asOne('DELETE', `/devices/edge-1?${version}`)).toMatchObject({ status: 401 });
  expect(await asOne('GET', `/devices?${version}`)).toMatchObject({ status: 401 });
  expect(await asOne('PATCH', `/twins/edge-1?${version}`)).toMatchObject({ status: 401 });
});

test('telemetry and cloud-to-device messages go over HTTPS', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  const call = asDevice(rig, { deviceId: 'device-1', version: '2021-04-12' });
  const headers = { 'iothub-app-site': 'a', 'iothub-messageid': 'm-1', 'content-type': 'application/octet-stream' };
  expect(await call('POST', '/messages/events', 'raw', headers)).toMatchObject({ status: 204 });
  const batch = [
    { body: Buffer.from('one').toString('base64'), properties: { 'iothub-app-k': 'v' } },
    { body: 'dHdv' },
  ];
  expect(
    await call('POST', '/messages/events', batch, { 'content-type': 'application/vnd.microsoft.iothub.json' }),
  ).toMatchObject({ status: 204 });
  const messages = rig.hub.readEvents().map(({ message }) => message);
  expect(messages.map(({ body }) => body.toString())).toEqual(['raw', 'one', 'two']);
  expect(messages[0]).toMatchObject({ system: { messageId: 'm-1' }, properties: { site: 'a' } });
  const large = await call('POST', '/messages/events', 'x'.repeat(262_145), { 'content-type': 'text/plain' });
  expect(large).toMatchObject({ status: 413, headers: { 'iothub-errorcode': 'MessageTooLarge' } });

  expect(await call('GET', '/messages/devicebound')).toMatchObject({ status: 204 });
  rig.hub.sendCommand('device-1', { system: { messageId: 'c-1' }, properties: { k: 'v' }, body: Buffer.from('go') });
  const first = await call('GET', '/messages/devicebound');
  expect(first).toMatchObject({
    status: 200,
    body: 'go',
    headers: { 'iothub-messageid': 'c-1', 'iothub-app-k': 'v', 'iothub-deliverycount': '0' },
  });
  const lock = (answer: { readonly headers: Readonly<Record<string, unknown>> }): string =>
    String(answer.headers['etag']).replaceAll('"', '');
  expect(await call('GET', '/messages/devicebound')).toMatchObject({ status: 204 });
  expect(await call('POST', `/messages/devicebound/${lock(first)}/abandon`)).toMatchObject({ status: 204 });
  const second = await call('GET', '/messages/devicebound');
  expect(second.headers).toMatchObject({ 'iothub-deliverycount': '1' });
  expect(await call('DELETE', `/messages/devicebound/${lock(second)}`)).toMatchObject({ status: 204 });
  expect(await call('DELETE', `/messages/devicebound/${lock(second)}`)).toMatchObject({ status: 412 });
});

function asDevice(rig: HubRig, of: { readonly deviceId: string; readonly version: string }) {
  const authorization = tokenOf(rig, of.deviceId);
  return async (method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}) =>
    await request(rig.agent, {
      method,
      path: `/devices/${of.deviceId}${path}?api-version=${of.version}`,
      body,
      headers: { authorization, ...headers },
    });
}

/** Makes a device's token as the runtime of IoT Edge does: all of the audience in lower case. */
function tokenOf(rig: HubRig, deviceId: string): string {
  const key = /SharedAccessKey=(.+)$/.exec(rig.hub.deviceConnectionString(deviceId))?.[1] ?? '';
  const resource = encodeURIComponent(`${rig.hub.hostName}/devices/${deviceId}`.toLowerCase());
  return SharedAccessSignature.create(resource, undefined as never, key, Math.ceil(Date.now() / 1000) + 30).toString();
}
