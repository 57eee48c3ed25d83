import { Client as DeviceClient, type Twin } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { DigitalTwinClient, IoTHubTokenCredentials } from 'azure-iothub';
import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { type HubRig, openHubRig } from './hub-rig.ts';

const modelId = 'dtmi:com:example:TemperatureController;2';

test('getDigitalTwin() gives model, components, and how far the device has come with what is desired', async () => {
  await using rig = await openHubRig();
  const client = await connect(rig);
  const twin = await client.getTwin();
  await rig.registry.updateTwin(
    'device-1',
    { properties: { desired: { thermostat1: { __t: 'c', target: 21 } } } },
    '*',
  );
  await report(twin, {
    serial: 'x-1',
    thermostat1: { __t: 'c', max: 25.3, target: { value: 21, ac: 200, av: 2, ad: 'done' } },
  });
  expect(await digitalTwins(rig).getDigitalTwin('device-1')).toMatchObject({
    $dtId: 'device-1',
    serial: 'x-1',
    thermostat1: {
      max: 25.3,
      target: 21,
      $metadata: {
        max: { lastUpdateTime: expect.any(String) },
        target: { desiredValue: 21, desiredVersion: 2, ackVersion: 2, ackCode: 200, ackDescription: 'done' },
      },
    },
    $metadata: { $model: modelId, serial: { lastUpdateTime: expect.any(String) } },
  });
  expect((await rig.registry.getTwin('device-1')).responseBody).toMatchObject({ modelId });
});

test('updateDigitalTwin() desires properties of the root and of components, with an entity tag', async () => {
  await using rig = await openHubRig();
  const client = await connect(rig);
  const desired: unknown[] = [];
  (await client.getTwin()).on('properties.desired', (patch: unknown) => desired.push(patch));
  await until(() => desired.length === 1);
  const service = digitalTwins(rig);
  const before = (await rig.registry.getTwin('device-1')).responseBody.etag;
  await service.updateDigitalTwin('device-1', [
    { op: 'add', path: '/rate', value: 5 },
    { op: 'replace', path: '/thermostat1/target', value: 22 },
    { op: 'add', path: '/thermostat2', value: { target: 23, $metadata: {} } },
  ]);
  await until(() => desired.length === 2);
  expect(desired[1]).toEqual({
    rate: 5,
    thermostat1: { __t: 'c', target: 22 },
    thermostat2: { __t: 'c', target: 23 },
    $version: 2,
  });
  await service.updateDigitalTwin('device-1', [{ op: 'remove', path: '/thermostat1/target' }], '*');
  expect((await rig.registry.getTwin('device-1')).responseBody.properties.desired).toMatchObject({
    rate: 5,
    thermostat1: { __t: 'c' },
  });
  const stale = service.updateDigitalTwin('device-1', [{ op: 'add', path: '/rate', value: 6 }], `"${before}"`);
  await expect(stale).rejects.toMatchObject({ statusCode: 412 });
  const deep = service.updateDigitalTwin('device-1', [{ op: 'add', path: '/a/b/c', value: 1 }]);
  await expect(deep).rejects.toMatchObject({ statusCode: 400 });
});

test('invokeCommand() and invokeComponentCommand() call methods, a component by its name and an asterisk', async () => {
  await using rig = await openHubRig();
  const client = await connect(rig);
  client.onDeviceMethod('reboot', (request, response) => void response.send(200, { after: request.payload }));
  client.onDeviceMethod('thermostat1*getMaxMinReport', (_request, response) => void response.send(404, 'none'));
  const service = digitalTwins(rig);
  const options = { connectTimeoutInSeconds: 5, responseTimeoutInSeconds: 10 };
  const answer = await until(
    async () => await service.invokeCommand('device-1', 'reboot', 3, options).catch(() => undefined),
  );
  expect(answer).toMatchObject({ body: { after: 3 }, xMsCommandStatuscode: 200 });
  const since = '2026-11-22T00:00:00Z';
  const report = await service.invokeComponentCommand('device-1', 'thermostat1', 'getMaxMinReport', since, options);
  expect(report).toMatchObject({ xMsCommandStatuscode: 404, xMsRequestId: expect.any(String) });
  await client.close();
  await expect(service.invokeCommand('device-1', 'reboot', 3, {})).rejects.toMatchObject({ statusCode: 404 });
});

async function connect(rig: HubRig): Promise<DeviceClient> {
  await rig.registry.create({ deviceId: 'device-1' });
  const client = DeviceClient.fromConnectionString(rig.hub.deviceConnectionString('device-1'), Mqtt);
  await client.setOptions({ modelId });
  await client.open();
  return client;
}

function digitalTwins(rig: HubRig): DigitalTwinClient {
  return new DigitalTwinClient(new IoTHubTokenCredentials(rig.hub.connectionStrings.iothubowner));
}

async function report(twin: Twin, patch: object): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  twin.properties.reported['update'](patch, (error: Error | null) => (error === null ? resolve() : reject(error)));
  await promise;
}
