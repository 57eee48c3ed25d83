import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerGroup } from '@azure/arm-containerinstance';
import { expect, test } from 'vitest';
import { processesOf } from '../processes-of.ts';
import { until } from '../until.ts';
import { groupOf, openArmRig, stayingScript } from './arm-rig.ts';

const quick = { updateIntervalInMs: 50 };

test('container groups: create, get, list, tag, delete', async () => {
  await using rig = await openArmRig();
  const { containerGroups } = rig.containers;
  const image = await rig.image(stayingScript);
  const created = await containerGroups.beginCreateOrUpdateAndWait('local', 'digits', groupOf(image), quick);
  expect(created).toMatchObject({
    name: 'digits',
    provisioningState: 'Succeeded',
    location: 'westeurope',
    sku: 'Standard',
  });
  expect(created.instanceView?.state).toBe('Running');
  for (const pages of [containerGroups.list(), containerGroups.listByResourceGroup('LOCAL')]) {
    const names = [];
    for await (const group of pages) names.push(group.name);
    expect(names).toEqual(['digits']);
  }
  expect((await containerGroups.update('local', 'digits', { tags: { stage: 'test' } })).tags).toEqual({
    stage: 'test',
  });
  await containerGroups.beginDeleteAndWait('local', 'digits', quick);
  await expect(containerGroups.get('local', 'digits')).rejects.toMatchObject({
    statusCode: 404,
    code: 'ResourceNotFound',
  });
  // Deleting what is not there is no failure.
  await containerGroups.beginDeleteAndWait('local', 'digits', quick);
});

test('an asynchronous operation is followed by Azure-AsyncOperation, and its failure is told', async () => {
  await using rig = await openArmRig();
  const path = groupPath(rig.arm.subscriptionId, 'digits');
  const body = bodyOf(await rig.image(stayingScript));
  rig.arm.faults.change({ failPulls: 3 });
  const answer = await rig.rest('PUT', path, { body });
  expect(answer.status).toBe(201);
  expect(await answer.json()).toMatchObject({
    properties: { provisioningState: expect.stringMatching(/Pending|Creating/) },
  });
  const follow = new URL(answer.headers.get('azure-asyncoperation') ?? '');
  expect(answer.headers.get('retry-after')).toMatch(/^\d+$/);
  const ended = await until(
    async () => {
      const status = (await (await rig.rest('GET', follow.pathname + follow.search)).json()) as { status: string };
      return status.status === 'InProgress' ? undefined : status;
    },
    { timeoutMs: 20_000 },
  );
  expect(ended).toMatchObject({
    status: 'Failed',
    error: { code: 'Failed', message: expect.stringContaining('Failed to pull image') },
  });
  const group = await rig.containers.containerGroups.get('local', 'digits');
  expect(group).toMatchObject({ provisioningState: 'Failed', instanceView: { state: 'Failed' } });
  const names = group.containers[0]?.instanceView?.events?.map(({ name, count }) => `${name} ${count}`);
  expect(names).toEqual(['Pulling 3', 'Failed 3', 'BackOff 2']);
  await expect(
    rig.containers.containerGroups.beginCreateOrUpdateAndWait(
      'local',
      'digits',
      groupOf(body.properties.containers[0]?.properties.image ?? ''),
      quick,
    ),
  ).resolves.toMatchObject({ provisioningState: 'Succeeded' });
});

test('the same group again changes nothing, another image restarts it, and what must be deleted first is refused', async () => {
  await using rig = await openArmRig();
  const { containerGroups } = rig.containers;
  const first = await rig.image(stayingScript);
  const second = await rig.image(`${stayingScript}# another`);
  const create = (group: ContainerGroup): Promise<ContainerGroup> =>
    containerGroups.beginCreateOrUpdateAndWait('local', 'digits', group, quick);
  const before = await create(groupOf(first));
  const startOf = (group: ContainerGroup) => group.containers[0]?.instanceView?.currentState?.startTime?.getTime();
  expect(startOf(await create(groupOf(first)))).toBe(startOf(before));
  const after = await create(groupOf(second));
  expect(startOf(after)).toBeGreaterThan(startOf(before) ?? 0);
  expect(after.containers[0]?.image).toBe(second);
  await expect(create(groupOf(second, { restartPolicy: 'Never' }))).rejects.toMatchObject({
    statusCode: 400,
    code: 'InvalidContainerGroupUpdate',
  });
});

test('a group that is transitioning is not changed by anybody else', async () => {
  await using rig = await openArmRig();
  const { containerGroups } = rig.containers;
  const image = await rig.image(stayingScript);
  rig.arm.faults.change({ provisioningDelayMs: 60_000 });
  await containerGroups.beginCreateOrUpdate('local', 'digits', groupOf(image), quick);
  const other = groupOf(image, { tags: { a: 'b' } });
  await expect(containerGroups.beginCreateOrUpdate('local', 'digits', other, quick)).rejects.toMatchObject({
    statusCode: 409,
    code: 'ContainerGroupTransitioning',
  });
  await expect(containerGroups.stop('local', 'digits')).rejects.toMatchObject({ code: 'ContainerGroupTransitioning' });
  await containerGroups.beginDeleteAndWait('local', 'digits', quick);
});

test(
  'a group that is removed while a change of it is under way is gone, with all that it ran',
  { timeout: 60_000 },
  async () => {
    await using rig = await openArmRig();
    const { containerGroups } = rig.containers;
    const group = groupOf(await rig.image(stayingScript));
    // While it ends what ran, and while it starts what is to run.
    for (const pauseMs of [0, 50, 100, 150]) {
      await containerGroups.beginCreateOrUpdateAndWait('local', 'digits', group, quick);
      await containerGroups.beginCreateOrUpdate('local', 'digits', { ...group, tags: { stage: 'test' } }, quick);
      await sleep(pauseMs);
      await containerGroups.beginDeleteAndWait('local', 'digits', quick);
      await expect.poll(() => processesOf(rig.folder)).toEqual([]);
    }
  },
);

test('an image that the registry does not give is refused before anything is made', async () => {
  await using rig = await openArmRig();
  const image = (await rig.image(stayingScript)).replace(/[0-9a-f]{8}$/, '00000000');
  await expect(
    rig.containers.containerGroups.beginCreateOrUpdate('local', 'digits', groupOf(image)),
  ).rejects.toMatchObject({
    statusCode: 400,
    code: 'InaccessibleImage',
  });
  await expect(rig.containers.containerGroups.get('local', 'digits')).rejects.toMatchObject({ statusCode: 404 });
});

test('a DNS label gives a name in the region, and nobody else gets it there', async () => {
  await using rig = await openArmRig();
  const { containerGroups } = rig.containers;
  const image = await rig.image(stayingScript);
  const labelled = (label: string, changes: Partial<ContainerGroup> = {}): ContainerGroup => {
    const group = groupOf(image, {
      ipAddress: { type: 'Public', ports: [{ port: 5001 }], dnsNameLabel: label },
      ...changes,
    });
    return { ...group, containers: group.containers.map((one) => ({ ...one, ports: [{ port: 5001 }] })) };
  };
  const made = await containerGroups.beginCreateOrUpdateAndWait('local', 'first', labelled('digits'), quick);
  expect(made.ipAddress).toMatchObject({
    fqdn: 'digits.westeurope.azurecontainer.io',
    ip: expect.stringMatching(/^127\./),
  });
  await expect(containerGroups.beginCreateOrUpdate('local', 'second', labelled('digits'))).rejects.toMatchObject({
    code: 'DnsNameLabelAlreadyTaken',
  });
  const elsewhere = labelled('digits', { location: 'North Europe' });
  const other = await containerGroups.beginCreateOrUpdateAndWait('local', 'second', elsewhere, quick);
  expect(other.ipAddress?.fqdn).toBe('digits.northeurope.azurecontainer.io');
  expect(other.ipAddress?.ip).not.toBe(made.ipAddress?.ip);
});

test('secure values, passwords and secrets are never given back', async () => {
  await using rig = await openArmRig();
  const image = await rig.image('echo "$PLAIN $SECURE $(cat $FILE)"');
  const given = groupOf(image, {
    restartPolicy: 'Never',
    volumes: [{ name: 'credentials', secret: { 'key.txt': Buffer.from('third').toString('base64') } }],
    imageRegistryCredentials: [{ server: 'example.azurecr.io', username: 'me', password: 'fourth' }],
  });
  const [main] = given.containers;
  const group = {
    ...given,
    containers: [
      {
        name: 'main',
        image,
        resources: { requests: { cpu: 0.5, memoryInGB: 0.5 } },
        ...main,
        environmentVariables: [
          { name: 'PLAIN', value: 'first' },
          { name: 'SECURE', secureValue: 'second' },
          { name: 'FILE', value: '/mnt/credentials/key.txt' },
        ],
        volumeMounts: [{ name: 'credentials', mountPath: '/mnt/credentials' }],
      },
    ],
  };
  await rig.containers.containerGroups.beginCreateOrUpdateAndWait('local', 'digits', group, quick);
  const logs = await until(async () => (await rig.containers.containers.listLogs('local', 'digits', 'main')).content);
  expect(logs).toBe('first second third\n');
  const shown = JSON.stringify(await (await rig.rest('GET', groupPath(rig.arm.subscriptionId, 'digits'))).json());
  expect(shown).toContain('first');
  expect(shown).toContain('SECURE');
  for (const secret of ['second', Buffer.from('third').toString('base64'), 'fourth'])
    expect(shown).not.toContain(secret);
});

test('quotas, a full region, throttling and failures come as they are set up', async () => {
  await using rig = await openArmRig();
  const { containerGroups } = rig.containers;
  const { faults } = rig.arm;
  const image = await rig.image(stayingScript);
  faults.change({ containerGroupsMax: 0 });
  await expect(containerGroups.beginCreateOrUpdate('local', 'digits', groupOf(image))).rejects.toMatchObject({
    code: 'ContainerGroupQuotaReached',
  });
  faults.change({ containerGroupsMax: 1, coresMax: 0 });
  await expect(containerGroups.beginCreateOrUpdate('local', 'digits', groupOf(image))).rejects.toThrow(
    "'StandardCores'",
  );
  faults.clear();
  faults.change({ fullRegions: ['West Europe'] });
  await expect(containerGroups.beginCreateOrUpdate('local', 'digits', groupOf(image))).rejects.toMatchObject({
    code: 'ServiceUnavailable',
  });
  // The SDK waits as long as it is told, and tries again.
  faults.clear();
  faults.change({ throttleRequests: 1, failRequests: 1 });
  await expect(containerGroups.get('local', 'digits')).rejects.toMatchObject({ code: 'ResourceNotFound' });
  expect(faults.settings).toMatchObject({ throttleRequests: 0, failRequests: 0 });
});

test('a region tells its quotas, what is used of them, and what a group may have', async () => {
  await using rig = await openArmRig();
  await rig.containers.containerGroups.beginCreateOrUpdateAndWait(
    'local',
    'digits',
    groupOf(await rig.image(stayingScript)),
    quick,
  );
  const usages = [];
  for await (const { name, currentValue, limit } of rig.containers.location.listUsage('westeurope')) {
    usages.push([name?.value, currentValue, limit]);
  }
  expect(usages).toEqual([
    ['ContainerGroups', 1, 100],
    ['StandardCores', 1, 100],
  ]);
  for await (const { capabilities } of rig.containers.location.listCapabilities('westeurope')) {
    expect(capabilities).toMatchObject({ maxCpu: 31, maxMemoryInGB: 240 });
  }
  for await (const image of rig.containers.location.listCachedImages('westeurope')) expect(image).toBeUndefined();
});

function groupPath(subscription: string, name: string): string {
  return `/subscriptions/${subscription}/resourceGroups/local/providers/Microsoft.ContainerInstance/containerGroups/${name}?api-version=2023-05-01`;
}

function bodyOf(image: string) {
  const resources = { requests: { cpu: 0.5, memoryInGB: 0.5 } };
  return {
    location: 'westeurope',
    properties: { osType: 'Linux', containers: [{ name: 'main', properties: { image, resources } }] },
  };
}
