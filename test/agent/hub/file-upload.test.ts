import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { expect, test } from 'vitest';
import { HubFileUpload } from '../../../agent/hub/file-upload.ts';
import { messageOf } from '../../../shared/errors.ts';
import { parseDeviceConnectionString } from '../../../shared/edge/connection-string.ts';
import { trustAlso } from '../../../shared/tls-trust.ts';
import { openAzurite } from '../../conformance/azurite-rig.ts';
import { Rig } from '../rig.ts';

const never = new AbortController().signal;
const name = 'sub/group/space/digits/digits-mlp/1/inputs/2026/11/22/inputs-a1-1-2.csv';
const content = Buffer.from('pixels_0,$aml_dc_correlation_id\n1,x\n');
const blob = { name, content, contentType: 'text/csv', metadata: { rows: '1', sha256: 'abc' } };

/** Gives what upload() throws. */
async function failureOf(upload: Promise<void>): Promise<Error & { code?: string }> {
  return upload.then(
    () => new Error('it went well'),
    (error: unknown) => error as Error,
  );
}

test('HubFileUpload stores a blob with its type and metadata, over one of the same name, and tells the hub', async () => {
  await using azurite = await openAzurite();
  trustAlso(azurite.caFile);
  await using rig = await Rig.open({ storage: azurite.account });
  const notified: unknown[] = [];
  rig.hub.onFileUploaded((notification) => notified.push(notification.blobName));
  const destination = new HubFileUpload(parseDeviceConnectionString(rig.connectionString));
  await destination.upload(blob, never);
  await destination.upload(blob, never);
  const { blobHost, accountName, accountKey } = azurite.account;
  const service = new BlobServiceClient(`https://${blobHost}`, new StorageSharedKeyCredential(accountName, accountKey));
  const stored = service.getContainerClient('modeldata').getBlobClient(`gate/${name}`);
  expect(await stored.downloadToBuffer()).toEqual(content);
  expect(await stored.getProperties()).toMatchObject({ contentType: 'text/csv', metadata: blob.metadata });
  expect(notified).toEqual([`gate/${name}`, `gate/${name}`]);
});

test('HubFileUpload says HUB_UNREACHABLE with the address when there is no hub', async () => {
  const device = parseDeviceConnectionString('HostName=localhost:1;DeviceId=gate;SharedAccessKey=YQ==');
  const error = await failureOf(new HubFileUpload(device).upload(blob, never));
  expect(error).toMatchObject({ code: 'HUB_UNREACHABLE', message: expect.stringContaining('localhost:1') });
});

test('HubFileUpload says HUB_REFUSED when the hub gives no address', async () => {
  await using rig = await Rig.open();
  const error = await failureOf(
    new HubFileUpload(parseDeviceConnectionString(rig.connectionString)).upload(blob, never),
  );
  expect(error).toMatchObject({
    code: 'HUB_REFUSED',
    message: expect.stringContaining('localhost:'),
    cause: { message: expect.stringContaining('storage account') },
  });
});

test('HubFileUpload says STORAGE_REFUSED with the status and without the signature', async () => {
  await using azurite = await openAzurite();
  trustAlso(azurite.caFile);
  await using rig = await Rig.open({ storage: azurite.account });
  const destination = new HubFileUpload(parseDeviceConnectionString(rig.connectionString));
  // Metadata that no storage account takes.
  const error = await failureOf(destination.upload({ ...blob, metadata: { 'not-an-identifier': 'x' } }, never));
  expect(error).toMatchObject({ code: 'STORAGE_REFUSED', message: expect.stringContaining(azurite.account.blobHost) });
  expect(messageOf(error) + JSON.stringify(error)).not.toMatch(/sig=|sasToken/);
});

test('HubFileUpload says STORAGE_UNREACHABLE with the address and without the signature', async () => {
  const azurite = await openAzurite();
  trustAlso(azurite.caFile);
  await using rig = await Rig.open({ storage: azurite.account });
  const destination = new HubFileUpload(parseDeviceConnectionString(rig.connectionString));
  await destination.upload(blob, never);
  await azurite[Symbol.asyncDispose]();
  const error = await failureOf(destination.upload({ ...blob, name: 'other.csv' }, AbortSignal.timeout(20_000)));
  expect(error).toMatchObject({
    code: 'STORAGE_UNREACHABLE',
    message: expect.stringContaining(azurite.account.blobHost),
  });
  expect(messageOf(error) + JSON.stringify(error)).not.toMatch(/sig=|sasToken/);
});
