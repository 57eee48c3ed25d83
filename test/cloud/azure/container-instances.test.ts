import { expect, test } from 'vitest';
import { openAzure } from '../../../cloud/azure/azure-access.ts';
import { ContainerInstances } from '../../../cloud/azure/container-instances.ts';
import type { Endpoints, Secrets } from '../../../cloud/workspace/config.ts';
import { type ArmRig, groupOf, openArmRig, stayingScript } from '../../conformance/arm-rig.ts';
import { workspaceRig } from '../workspace-rig.ts';

const signal = AbortSignal.timeout(600_000);

/** Opens the container groups of the rig as a workspace that is set up for it does. */
async function open(
  { arm }: ArmRig,
  changes: { azure?: Endpoints['azure']; secrets?: Secrets; resourceGroup?: string } = {},
): Promise<ContainerInstances> {
  await using rig = await workspaceRig();
  const azure = { endpoint: arm.endpoint, tenant: arm.tenantId, client: arm.clientId };
  await rig.workspace.setEndpoints(
    { azure: changes.azure ?? azure },
    changes.secrets ?? { azureClientSecret: arm.clientSecret },
  );
  const { resourceGroup = 'local' } = changes;
  return await ContainerInstances.open(await openAzure(rig.workspace), { resourceGroup, signal });
}

test('ContainerInstances makes, finds, reads and removes a group, and waits while it is busy', async () => {
  await using rig = await openArmRig();
  const instances = await open(rig);
  expect(await instances.find('digits')).toBeUndefined();
  expect(await instances.region()).toBe('westeurope');
  const group = groupOf(await rig.image(stayingScript));
  await instances.put('digits', group);
  // The first is still under way.
  await instances.put('digits', { ...group, tags: { stage: 'test' } });
  expect((await instances.find('digits'))?.tags).toEqual({ stage: 'test' });
  expect(await instances.remove('digits')).toBe(true);
  expect(await instances.remove('digits')).toBe(false);
});

test('a wrong secret is AZURE_UNAUTHORIZED, with what the sign-in said and without the secret', async () => {
  await using rig = await openArmRig();
  const instances = await open(rig, { secrets: { azureClientSecret: 'a-wrong-secret' } });
  const failure = await instances.find('digits').catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 'AZURE_UNAUTHORIZED', message: expect.stringContaining('AADSTS7000215') });
  expect(JSON.stringify(failure)).not.toContain('a-wrong-secret');
});

test('a refusal is AZURE_REFUSED with the code and the words of Azure', async () => {
  await using rig = await openArmRig();
  const elsewhere = await open(rig, { resourceGroup: 'elsewhere' });
  await expect(elsewhere.find('digits')).rejects.toMatchObject({
    code: 'AZURE_REFUSED',
    message: expect.stringContaining("ResourceGroupNotFound: Resource group 'elsewhere' could not be found."),
  });
  await expect(elsewhere.region()).rejects.toMatchObject({ code: 'AZURE_REFUSED' });
  rig.arm.faults.change({ fullRegions: ['westeurope'] });
  const instances = await open(rig);
  await expect(instances.put('digits', groupOf('localhost:1/digits:1'))).rejects.toThrow(
    'is not available in the location',
  );
  rig.arm.faults.clear();
  await expect(instances.put('digits', groupOf('localhost:1/digits:1'))).rejects.toMatchObject({
    code: 'IMAGE_NOT_FOUND',
  });
});

test('a workspace without a subscription has no access to Azure', async () => {
  await using rig = await workspaceRig();
  await expect(openAzure(rig.workspace)).rejects.toMatchObject({ code: 'ENDPOINT_MISSING' });
});

test('an endpoint where nothing answers is AZURE_UNREACHABLE', { timeout: 90_000 }, async () => {
  await using rig = await openArmRig();
  const { tenantId: tenant, clientId: client } = rig.arm;
  const instances = await open(rig, { azure: { endpoint: 'https://localhost:1', tenant, client } });
  await expect(instances.find('digits')).rejects.toMatchObject({ code: 'AZURE_UNREACHABLE' });
});
