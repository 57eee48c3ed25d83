import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ContainerServiceClient } from '@azure/arm-containerservice';
import { IotHubClient } from '@azure/arm-iothub';
import { ResourceManagementClient } from '@azure/arm-resources';
import { SubscriptionClient } from '@azure/arm-resources-subscriptions';
import { StorageManagementClient } from '@azure/arm-storage';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../temporary-folder.ts';
import { groupOf, openArmRig, stayingScript } from './arm-rig.ts';

const quick = { updateIntervalInMs: 50 };

test('subscriptions, tenants and regions', async () => {
  await using rig = await openArmRig();
  const { arm } = rig;
  const client = new SubscriptionClient(rig.credential, rig.clientOptions);
  expect(await client.subscriptions.get(arm.subscriptionId)).toMatchObject({ state: 'Enabled' });
  const found = { tenants: [] as unknown[], subscriptions: [] as unknown[], regions: [] as unknown[] };
  for await (const { tenantId } of client.tenants.list()) found.tenants.push(tenantId);
  for await (const { subscriptionId } of client.subscriptions.list()) found.subscriptions.push(subscriptionId);
  for await (const { name } of client.subscriptions.listLocations(arm.subscriptionId)) found.regions.push(name);
  expect(found).toMatchObject({ tenants: [arm.tenantId], subscriptions: [arm.subscriptionId] });
  expect(found.regions).toContain('westeurope');
});

test('resource groups: create, find, list, tag, and delete with what is in them', async () => {
  await using rig = await openArmRig();
  const { resourceGroups } = new ResourceManagementClient(rig.credential, rig.arm.subscriptionId, rig.clientOptions);
  const made = await resourceGroups.createOrUpdate('models', { location: 'West Europe', tags: { a: 'b' } });
  expect(made).toMatchObject({
    name: 'models',
    location: 'westeurope',
    properties: { provisioningState: 'Succeeded' },
  });
  expect(await resourceGroups.get('MODELS')).toMatchObject({ name: 'models', tags: { a: 'b' } });
  const names = [];
  for await (const { name } of resourceGroups.list()) names.push(name);
  expect(names).toEqual(['local', 'models']);
  expect(await resourceGroups.update('models', { tags: { c: 'd' } })).toMatchObject({ tags: { c: 'd' } });
  await expect(resourceGroups.createOrUpdate('models', { location: 'eastus' })).rejects.toMatchObject({
    statusCode: 409,
  });
  await expect(resourceGroups.createOrUpdate('mars', { location: 'mars' })).rejects.toMatchObject({
    code: 'LocationNotAvailableForResourceGroup',
  });
  const group = groupOf(await rig.image(stayingScript));
  await rig.containers.containerGroups.beginCreateOrUpdateAndWait('models', 'digits', group, quick);
  await resourceGroups.beginDeleteAndWait('models', quick);
  await expect(resourceGroups.get('models')).rejects.toMatchObject({ statusCode: 404, code: 'ResourceGroupNotFound' });
  for await (const { name } of rig.containers.containerGroups.list()) expect(name).toBeUndefined();
});

test('errors come in the envelope of Resource Manager: versions, paths, methods, subscriptions, bodies', async () => {
  await using rig = await openArmRig();
  const subscription = `/subscriptions/${rig.arm.subscriptionId}`;
  const groups = `${subscription}/resourceGroups/local/providers/Microsoft.ContainerInstance/containerGroups`;
  const version = '?api-version=2023-05-01';
  const codeOf = async (method: string, path: string, body?: unknown): Promise<string> => {
    const answer = await rig.rest(method, path, body === undefined ? {} : { body });
    const { error } = (await answer.json()) as { error: { code: string; message: string } };
    expect(error.message).not.toBe('');
    return `${answer.status} ${error.code}`;
  };
  expect(await codeOf('GET', groups)).toBe('400 MissingApiVersionParameter');
  expect(await codeOf('GET', `${groups}?api-version=yesterday`)).toBe('400 InvalidApiVersionParameter');
  expect(await codeOf('GET', `${groups}?api-version=1999-01-01`)).toBe('400 NoRegisteredProviderFound');
  expect(await codeOf('GET', `/subscriptions/${rig.arm.tenantId}/resourceGroups?api-version=2021-04-01`)).toBe(
    '404 SubscriptionNotFound',
  );
  expect(await codeOf('GET', `${subscription}/nothing${version}`)).toBe('404 InvalidResourceType');
  expect(await codeOf('DELETE', `${groups}${version}`)).toBe('405 MethodNotAllowed');
  expect(await codeOf('GET', `${groups.replace('local', 'none')}${version}`)).toBe('404 ResourceGroupNotFound');
  expect(await codeOf('PUT', `${groups}/digits${version}`, { location: 'westeurope' })).toBe(
    '400 InvalidRequestContent',
  );
});

test('storage accounts and IoT hubs give their keys', async () => {
  const storage = {
    accountName: 'modelferry',
    accountKey: 'c3RvcmFnZQ==',
    blobEndpoint: 'https://localhost:1/modelferry',
  };
  const connectionStrings = { iothubowner: 'HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=aHVi' };
  const hub = { name: 'modelferry', hostName: 'localhost:2', connectionStrings };
  await using rig = await openArmRig({ accounts: { storage, hub } });
  const accounts = new StorageManagementClient(rig.credential, rig.arm.subscriptionId, rig.clientOptions)
    .storageAccounts;
  expect((await accounts.listKeys('local', 'modelferry')).keys?.[0]).toMatchObject({
    keyName: 'key1',
    value: 'c3RvcmFnZQ==',
  });
  expect((await accounts.getProperties('local', 'modelferry')).primaryEndpoints?.blob).toBe(
    'https://localhost:1/modelferry/',
  );
  const hubs = new IotHubClient(rig.credential, rig.arm.subscriptionId, rig.clientOptions).iotHubResource;
  expect((await hubs.get('local', 'modelferry')).properties?.hostName).toBe('localhost:2');
  const keys = [];
  for await (const { keyName, primaryKey, rights } of hubs.listKeys('local', 'modelferry'))
    keys.push({ keyName, primaryKey, rights });
  expect(keys).toEqual([
    { keyName: 'iothubowner', primaryKey: 'aHVi', rights: 'RegistryWrite, ServiceConnect, DeviceConnect' },
  ]);
  expect(await hubs.getKeysForKeyName('local', 'modelferry', 'iothubowner')).toMatchObject({ primaryKey: 'aHVi' });
  await expect(accounts.listKeys('local', 'other')).rejects.toMatchObject({ statusCode: 404 });
});

test('the managed cluster gives the kubeconfig that is there, and is not there without', async () => {
  await using folder = await temporaryFolder();
  const kubeconfigFile = join(folder.path, 'kubeconfig');
  await using rig = await openArmRig({ kubeconfigFile });
  const clusters = new ContainerServiceClient(rig.credential, rig.arm.subscriptionId, rig.clientOptions)
    .managedClusters;
  await expect(clusters.get('local', 'modelferry')).rejects.toMatchObject({ statusCode: 404 });
  const text = 'apiVersion: v1\nkind: Config\nclusters:\n  - cluster:\n      server: https://localhost:6443\n';
  await writeFile(kubeconfigFile, text);
  const names = [];
  for await (const { name, fqdn } of clusters.list()) names.push([name, fqdn]);
  expect(names).toEqual([['modelferry', 'localhost:6443']]);
  const user = await clusters.listClusterUserCredentials('local', 'modelferry');
  expect(Buffer.from(user.kubeconfigs?.[0]?.value ?? []).toString()).toBe(text);
  const admin = await clusters.listClusterAdminCredentials('local', 'modelferry');
  expect(admin.kubeconfigs?.[0]?.name).toBe('clusterAdmin');
});
