import { BlockBlobClient } from '@azure/storage-blob';
import { Client as DeviceClient, Message, ModuleClient, SharedAccessSignature } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { expect, test } from 'vitest';
import { systemClock } from '../../shared/clock.ts';
import { trustAlso } from '../../shared/tls-trust.ts';
import { until } from '../until.ts';
import { openAzurite } from './azurite-rig.ts';
import { type HubRig, openHubRig } from './hub-rig.ts';

test("a module's direct methods: onMethod() is called by the service, and a patch of its twin reaches it", async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  const client = await rig.module('device-1', 'camera');
  client.onMethod('zoom', (request, response) => void response?.send(200, { zoomed: request?.payload as unknown }));
  const call = { methodName: 'zoom', payload: 3, connectTimeoutInSeconds: 5 };
  const { result } = await until(() =>
    rig.service.invokeDeviceMethod('device-1', 'camera', call).catch(() => undefined),
  );
  expect(result).toEqual({ status: 200, payload: { zoomed: 3 } });
  const twin = await client.getTwin();
  const seen: unknown[] = [];
  twin.on('properties.desired', (patch: unknown) => seen.push(patch));
  const { responseBody } = await rig.registry.getModuleTwin('device-1', 'camera');
  const patch = { properties: { desired: { frames: 25 } } };
  await rig.registry.updateModuleTwin('device-1', 'camera', patch, responseBody.etag);
  await until(() => JSON.stringify(seen).includes('"frames":25'));
  await expect(rig.registry.updateModuleTwin('device-1', 'camera', patch, 'AAAAAAAAAAA=')).rejects.toMatchObject({
    name: 'InvalidEtagError',
  });
});

test('ModuleClient.invokeMethod() lets a module call another of its device, and not one of another device', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1', capabilities: { iotEdge: true } });
  const caller = await gatewayModule(rig, 'controller');
  const camera = await rig.module('device-1', 'camera');
  camera.onMethod('zoom', (_request, response) => void response?.send(200, 'done'));
  const call = { methodName: 'zoom', payload: 3, connectTimeoutInSeconds: 5, responseTimeoutInSeconds: 5 };
  await until(() => rig.service.invokeDeviceMethod('device-1', 'camera', call).catch(() => undefined));
  expect(await caller.invokeMethod('device-1', 'camera', call)).toMatchObject({ status: 200, payload: 'done' });
  await rig.registry.create({ deviceId: 'device-2' });
  await expect(caller.invokeMethod('device-2', call)).rejects.toMatchObject({ name: 'UnauthorizedError' });
  await caller.close();
});

test('removing a listener unsubscribes: what is sent meanwhile waits in the queue', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  const received: string[] = [];
  const onMessage = (message: { readonly data: Buffer }): void => void received.push(message.data.toString());
  client.on('message', onMessage);
  send(rig, 'first');
  await until(() => received.length === 1);
  client.removeListener('message', onMessage);
  // The SDK says nothing when it has unsubscribed; its next answer comes after that.
  await client.getTwin();
  send(rig, 'second');
  await client.getTwin();
  expect(received).toEqual(['first']);
  client.on('message', onMessage);
  await until(() => received.length === 2);
  expect(received).toEqual(['first', 'second']);
});

test('a client that was given a token goes on with the next one that it is given', async () => {
  let skewMs = 0;
  await using rig = await openHubRig({ clock: { ...systemClock, nowMs: () => Date.now() + skewMs } });
  await rig.registry.create({ deviceId: 'device-1' });
  const client = DeviceClient.fromSharedAccessSignature(tokenOf(rig, 60), Mqtt);
  await client.open();
  await client.getTwin();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  client.updateSharedAccessSignature(tokenOf(rig, 3600), (error) => (error ? reject(error) : resolve()));
  await promise;
  // The first token has ended by now: whoever comes in again has the second.
  skewMs = 120_000;
  const before = rig.hub.connectCount('device-1');
  await rig.rest('POST', '/_sim/devices/device-1/drop');
  await client.sendEvent(new Message('still here'));
  expect(rig.hub.connectCount('device-1')).toBeGreaterThan(before);
  expect((await client.getTwin()).properties.desired).toMatchObject({ $version: 1 });
  await client.close();
});

test('getBlobSharedAccessSignature() and notifyBlobUploadStatus() do step by step what uploadToBlob() does', async () => {
  await using azurite = await openAzurite();
  trustAlso(azurite.caFile);
  await using rig = await openHubRig({ storage: azurite.account });
  const client = await rig.device('device-1');
  await client.setOptions({ http: { agent: rig.agent } });
  const told: { readonly blobName: string; readonly blobSizeInBytes: number }[] = [];
  rig.hub.onFileUploaded((notification) => told.push(notification));
  const place = await client.getBlobSharedAccessSignature('rows.csv');
  const blob = new BlockBlobClient(
    `https://${place.hostName}/${place.containerName}/${place.blobName}${place.sasToken}`,
  );
  await blob.uploadData(Buffer.from('a,b\n'));
  await client.notifyBlobUploadStatus(place.correlationId, true, 201, 'Created');
  expect(told).toMatchObject([{ blobName: 'device-1/rows.csv', blobSizeInBytes: 4 }]);
  // A correlation id is good for one notification.
  await expect(client.notifyBlobUploadStatus(place.correlationId, true, 201, 'Created')).rejects.toThrow('Bad Request');
});

/** Registers a module and opens the SDK's client of it that goes through a gateway, which is the hub itself here: only such a client calls methods. */
async function gatewayModule(rig: HubRig, moduleId: string): Promise<ModuleClient> {
  await rig.registry.addModule({ deviceId: 'device-1', moduleId });
  const { responseBody } = await rig.registry.getModule('device-1', moduleId);
  const key = responseBody.authentication?.symmetricKey?.primaryKey ?? '';
  const { hostName } = rig.hub;
  const client = ModuleClient.fromConnectionString(
    `HostName=${hostName};DeviceId=device-1;ModuleId=${moduleId};SharedAccessKey=${key};GatewayHostName=${hostName}`,
    Mqtt,
  );
  await client.setOptions({ http: { agent: rig.agent } });
  await client.open();
  return client;
}

function send(rig: HubRig, text: string): void {
  rig.hub.sendCommand('device-1', { system: {}, properties: {}, body: Buffer.from(text) });
}

/** Makes a device's token that is good for some seconds. */
function tokenOf(rig: HubRig, seconds: number): string {
  const key = /SharedAccessKey=(.+)$/.exec(rig.hub.deviceConnectionString('device-1'))?.[1] ?? '';
  const expires = Math.ceil(Date.now() / 1000) + seconds;
  return SharedAccessSignature.create(rig.hub.hostName, 'device-1', key, expires).toString();
}
