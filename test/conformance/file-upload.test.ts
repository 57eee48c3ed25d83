import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { trustAlso } from '../../shared/tls-trust.ts';
import { until } from '../until.ts';
import { openAzurite } from './azurite-rig.ts';
import { openHubRig } from './hub-rig.ts';

test('uploadToBlob() puts a file into the storage account, and a notification comes of it', async () => {
  await using azurite = await openAzurite();
  trustAlso(azurite.caFile);
  await using rig = await openHubRig({ storage: azurite.account });
  const client = await rig.device('device-1');
  await client.setOptions({ http: { agent: rig.agent } });
  const notifications: unknown[] = [];
  rig.hub.onFileUploaded((notification) => notifications.push(notification));
  await rig.service.open();
  const told: unknown[] = [];
  const receiver = (await rig.service.getFileNotificationReceiver()).result as unknown as NodeJS.EventEmitter;
  receiver.on('message', (message: { readonly data: Buffer }) => told.push(JSON.parse(message.data.toString())));
  await client.uploadToBlob('folder/rows.csv', Readable.from([Buffer.from('a,b\n1,2\n')]), 8);
  const credential = new StorageSharedKeyCredential(azurite.account.accountName, azurite.account.accountKey);
  const service = new BlobServiceClient(`https://${azurite.account.blobHost}`, credential);
  const blob = service.getContainerClient('modeldata').getBlobClient('device-1/folder/rows.csv');
  expect((await blob.downloadToBuffer()).toString()).toBe('a,b\n1,2\n');
  await until(() => notifications.length === 1);
  expect(notifications[0]).toMatchObject({
    deviceId: 'device-1',
    blobName: 'device-1/folder/rows.csv',
    blobSizeInBytes: 8,
  });
  // The same comes to back ends over AMQP.
  await until(() => told.length === 1);
  expect(told).toEqual(notifications);
  await rig.service.close();
});

test('the 11th upload under way is refused, and one that ended makes room', async () => {
  await using azurite = await openAzurite();
  trustAlso(azurite.caFile);
  await using rig = await openHubRig({ storage: azurite.account });
  await rig.registry.create({ deviceId: 'device-1' });
  const begin = async (name: string) =>
    await rig.rest('POST', '/devices/device-1/files?api-version=2021-04-12', { body: { blobName: name } });
  const grants = await Promise.all(Array.from({ length: 10 }, async (_, index) => await begin(`file-${index}`)));
  expect(grants.map(({ status }) => status)).toEqual(Array(10).fill(200));
  const refused = await begin('one-more');
  expect(refused).toMatchObject({
    status: 403,
    headers: { 'iothub-errorcode': 'DeviceMaximumActiveFileUploadLimitExceeded' },
  });
  const { correlationId } = grants[0]?.body ?? {};
  const path = `/devices/device-1/files/notifications/${encodeURIComponent(correlationId)}?api-version=2021-04-12`;
  const done = { isSuccess: false, statusCode: 500, statusDescription: 'no' };
  expect(await rig.rest('POST', path, { body: done })).toMatchObject({ status: 204 });
  expect(await rig.rest('POST', path, { body: done })).toMatchObject({
    status: 400,
    headers: { 'iothub-errorcode': 'InvalidFileUploadCorrelationId' },
  });
  expect(await begin('one-more')).toMatchObject({ status: 200 });
});

test('without a storage account, and with one that is not there, an upload is refused and says why', async () => {
  await using none = await openHubRig();
  await none.registry.create({ deviceId: 'device-1' });
  const path = '/devices/device-1/files?api-version=2021-04-12';
  expect(await none.rest('POST', path, { body: { blobName: 'a' } })).toMatchObject({
    status: 400,
    headers: { 'iothub-errorcode': 'DefaultStorageEndpointNotConfigured' },
  });
  const storage = { blobHost: 'localhost:1/devstoreaccount1', accountName: 'devstoreaccount1', accountKey: 'AAAA' };
  await using away = await openHubRig({ storage });
  await away.registry.create({ deviceId: 'device-1' });
  const answer = await away.rest('POST', path, { body: { blobName: 'a' } });
  expect(answer.status).toBe(500);
  expect(answer.body.Message).toContain('localhost:1');
});
