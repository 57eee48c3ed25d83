import { BlobServiceClient, ContainerSASPermissions, StorageSharedKeyCredential } from '@azure/storage-blob';
import { expect, test } from 'vitest';
import { trustAlso } from '../../shared/tls-trust.ts';
import { until } from '../until.ts';
import { openAzurite } from './azurite-rig.ts';
import { type HubRig, openHubRig } from './hub-rig.ts';

test('exportDevicesToBlob() writes all devices and modules, and importDevicesFromBlob() makes them in another hub', async () => {
  await using storage = await openStorage();
  await using from = await openHubRig();
  await from.registry.create({ deviceId: 'edge-1', capabilities: { iotEdge: true } });
  await from.registry.create({ deviceId: 'leaf-1', status: 'disabled', statusReason: 'spare' });
  await from.registry.addModule({ deviceId: 'leaf-1', moduleId: 'camera' });
  await from.registry.updateTwin('leaf-1', { tags: { site: 'a' }, properties: { desired: { rate: 5 } } }, '*');
  const exported = await from.registry.exportDevicesToBlob(storage.uri, false);
  expect(exported).toMatchObject({ type: 'export', status: 'enqueued' });
  expect(await ended(from, jobIdOf(exported))).toMatchObject({ status: 'completed', progress: 100 });
  const lines = await storage.read('devices.txt');
  expect(lines.map(({ id, moduleId }) => [id, moduleId])).toEqual([
    ['edge-1', undefined],
    ['leaf-1', undefined],
    ['edge-1', '$edgeAgent'],
    ['edge-1', '$edgeHub'],
    ['leaf-1', 'camera'],
  ]);

  await using to = await openHubRig();
  const imported = await to.registry.importDevicesFromBlob(storage.uri, storage.uri);
  expect(await ended(to, jobIdOf(imported))).toMatchObject({ type: 'import', status: 'completed' });
  for (const id of ['edge-1', 'leaf-1']) {
    const [old, made] = await Promise.all([from.registry.get(id), to.registry.get(id)]);
    expect(made.responseBody.authentication).toEqual(old.responseBody.authentication);
    expect(made.responseBody).toMatchObject({ status: old.responseBody.status });
  }
  expect((await to.registry.getModule('leaf-1', 'camera')).responseBody.authentication).toEqual(
    (await from.registry.getModule('leaf-1', 'camera')).responseBody.authentication,
  );
  expect((await to.registry.getTwin('leaf-1')).responseBody).toMatchObject({
    tags: { site: 'a' },
    properties: { desired: { rate: 5, $version: 1 } },
  });
  expect(await storage.has('importErrors.log')).toBe(false);
});

test('an import does what each line says, and lists what it could not do; an export leaves keys out when it is to', async () => {
  await using storage = await openStorage();
  await using rig = await openHubRig();
  for (const deviceId of ['old', 'gone', 'twin']) await rig.registry.create({ deviceId });
  const lines = [
    { id: 'new' },
    { id: 'old', importMode: 'update', status: 'disabled' },
    { id: 'old', importMode: 'create' },
    { id: 'gone', importMode: 'delete' },
    { id: 'twin', importMode: 'updateTwin', tags: { site: 'b' } },
    { id: 'nobody', importMode: 'update' },
    { id: 'x', importMode: 'maybe' },
    { id: 5 },
  ];
  await storage.write('devices.txt', `${lines.map((line) => JSON.stringify(line)).join('\r\n')}\nno JSON\n`);
  const job = await rig.registry.importDevicesFromBlob(storage.uri, storage.uri);
  expect(await ended(rig, jobIdOf(job))).toMatchObject({ status: 'completed' });
  const left = (await rig.registry.list()).responseBody.map(({ deviceId, status }) => [deviceId, status]);
  expect(left.map((one) => one.join(' ')).toSorted()).toEqual(['new enabled', 'old disabled', 'twin enabled']);
  expect((await rig.registry.getTwin('twin')).responseBody.tags).toEqual({ site: 'b' });
  expect((await storage.read('importErrors.log')).map(({ errorCode }) => errorCode)).toEqual([
    'DeviceAlreadyExists',
    'DeviceNotFound',
    'ArgumentInvalid',
    'ArgumentInvalid',
    'IotHubFormatError',
  ]);
  await ended(rig, jobIdOf(await rig.registry.exportDevicesToBlob(storage.uri, true)));
  const exported = JSON.stringify(await storage.read('devices.txt'));
  expect(exported).toContain('"primaryKey":null');
  expect(exported).not.toMatch(/"primaryKey":"/);
});

test('jobs of the registry are listed and cancelled, and fail with the reason of the storage', async () => {
  await using storage = await openStorage();
  await using rig = await openHubRig();
  const job = await rig.registry.importDevicesFromBlob(storage.uri, storage.uri);
  expect(await ended(rig, jobIdOf(job))).toMatchObject({
    status: 'failed',
    failureReason: expect.stringMatching(/BlobNotFound|blob does not exist|404/i),
  });
  const nowhere = storage.uri.replace(/localhost:\d+/, 'localhost:1');
  const waiting = await rig.registry.exportDevicesToBlob(nowhere, false);
  const cancelled: unknown = await rig.registry.cancelJob(jobIdOf(waiting));
  expect(cancelled).toMatchObject({ status: 'cancelled' });
  const { responseBody: listed } = (await rig.registry.listJobs()) as { readonly responseBody: unknown };
  expect(listed).toMatchObject([
    { jobId: jobIdOf(job), status: 'failed' },
    { jobId: jobIdOf(waiting), status: 'cancelled' },
  ]);
  await expect(rig.registry.getJob('nothing')).rejects.toMatchObject({
    responseBody: expect.stringContaining('JobNotFound'),
  });
  await expect(rig.registry.exportDevicesToBlobByIdentity(storage.uri, false)).rejects.toMatchObject({
    responseBody: expect.stringContaining('keyBased'),
  });
});

interface Line {
  readonly id: string;
  readonly moduleId?: string;
  readonly errorCode?: string;
}

/** Starts a storage account with a container that its address alone opens. */
async function openStorage() {
  const azurite = await openAzurite();
  trustAlso(azurite.caFile);
  const { blobHost, accountName, accountKey } = azurite.account;
  const credential = new StorageSharedKeyCredential(accountName, accountKey);
  const container = new BlobServiceClient(`https://${blobHost}`, credential).getContainerClient('registry');
  await container.create();
  const uri = await container.generateSasUrl({
    permissions: ContainerSASPermissions.parse('rwdl'),
    expiresOn: new Date(Date.now() + 3_600_000),
  });
  return {
    uri,
    write: async (name: string, text: string) =>
      void (await container.getBlockBlobClient(name).upload(text, text.length)),
    read: async (name: string): Promise<Line[]> => {
      const text = (await container.getBlobClient(name).downloadToBuffer()).toString();
      return text
        .trimEnd()
        .split('\r\n')
        .map((line) => JSON.parse(line) as Line);
    },
    has: async (name: string) => await container.getBlobClient(name).exists(),
    [Symbol.asyncDispose]: async () => await azurite[Symbol.asyncDispose](),
  };
}

/** The SDK's types do not know what it gives: the job as the hub describes it. */
function jobIdOf(job: unknown): string {
  return (job as { readonly jobId: string }).jobId;
}

async function ended(rig: HubRig, jobId: string): Promise<unknown> {
  return await until(
    async () => {
      const job = (await rig.registry.getJob(jobId)) as { readonly endTimeUtc?: string };
      return job.endTimeUtc === undefined ? undefined : job;
    },
    { timeoutMs: 20_000 },
  );
}
