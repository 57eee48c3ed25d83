import { expect, test } from 'vitest';
import { createEdgeService, deleteEdgeService, observeEdgeService } from '../../../cloud/deploy/iotedge.ts';
import { getService, listServices } from '../../../cloud/deploy/service-records.ts';
import { edgeManifestSchema } from '../../../shared/edge/manifest.ts';
import { parseCreateOptions } from '../../../shared/edge/create-options.ts';
import { type EdgeRig, openEdgeRig } from '../edge-rig.ts';

const request = { name: 'digits', image: 'digits:1', deviceTags: { site: 'lab' } };
const quiet = { replace: false, note: (): void => {}, signal: AbortSignal.timeout(600_000) };

const contextOf = ({ workspace, client }: EdgeRig) => ({ workspace, hub: client });

test('createEdgeService() puts a deployment by digest into the hub and records the service', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const settings = {
    port: 5011,
    hostAddress: '0.0.0.0',
    collect: true,
    env: { WORKER_COUNT: '2' },
    memoryMb: 256,
    priority: 7,
  };
  const record = await createEdgeService(contextOf(rig), { ...request, ...settings }, quiet);
  expect(getService(rig.workspace.database, 'digits')).toEqual(record);
  const [deployment] = await rig.client.listDeployments();
  expect(deployment).toMatchObject({ id: record.deployment.id, targetCondition: "tags.site='lab'", priority: 7 });
  expect(deployment?.id).toMatch(/^digits-[0-9a-f]{12}$/);
  const { modules } = edgeManifestSchema.parse(deployment?.content).modulesContent.$edgeAgent['properties.desired'];
  expect(modules['digits']?.settings.image).toBe(rig.image);
  expect(modules['digits']?.env).toEqual({
    WORKER_COUNT: { value: '2' },
    SERVICE_NAME: { value: 'digits' },
    MODELFERRY_WORKSPACE: { value: '00000000-0000-0000-0000-000000000000/local/lab' },
    AML_MODEL_DC_STORAGE_ENABLED: { value: 'true' },
  });
  expect(parseCreateOptions(modules['digits']?.settings ?? {})).toEqual({
    ExposedPorts: { '5001/tcp': {} },
    HostConfig: { PortBindings: { '5001/tcp': [{ HostIp: '0.0.0.0', HostPort: '5011' }] }, Memory: 268_435_456 },
  });
});

test('observeEdgeService() follows a service from its creation to Healthy', async () => {
  await using rig = await openEdgeRig();
  const early = await createEdgeService(contextOf(rig), request, quiet);
  expect(await observeEdgeService(rig.client, early)).toMatchObject({
    state: 'Transitioning',
    reason: expect.stringContaining('holds for no device'),
  });
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  await rig.hub.settled();
  expect(await observeEdgeService(rig.client, early)).toMatchObject({
    state: 'Transitioning',
    reason: expect.stringMatching(/^gw-1: it is not connected/),
  });
  const running = { type: 'docker', runtimeStatus: 'running', settings: { image: rig.image } };
  await using agent = await rig.connectAgent('gw-1');
  expect(await agent.desired()).toEqual({ digits: rig.image });
  await agent.report(
    { code: 200 },
    { digits: { ...running, runtimeStatus: 'backoff', exitCode: 3, restartCount: 2, statusDescription: 'no model' } },
  );
  expect(await observeEdgeService(rig.client, early)).toMatchObject({
    state: 'Unhealthy',
    reason: 'gw-1: the module "digits" is backoff, exit code 3, restarted 2 times: no model',
  });
  await agent.report({ code: 200 }, { digits: running });
  const seen = await observeEdgeService(rig.client, early);
  expect(seen).toMatchObject({ state: 'Healthy', devices: [{ deviceId: 'gw-1', connected: true, state: 'Healthy' }] });
  const deployment = await rig.client.getDeployment(early.deployment.id);
  expect(deployment.systemMetrics?.results).toMatchObject({
    targetedCount: 1,
    appliedCount: 1,
    reportedSuccessfulCount: 1,
    reportedFailedCount: 0,
  });
});

test('observeEdgeService() says Failed when the deployment is gone', async () => {
  await using rig = await openEdgeRig();
  const record = await createEdgeService(contextOf(rig), request, quiet);
  await rig.client.removeDeployment(record.deployment.id);
  expect(await observeEdgeService(rig.client, record)).toMatchObject({ state: 'Failed' });
});

test('createEdgeService() names everything that is wrong with a request at once and touches nothing', async () => {
  await using rig = await openEdgeRig();
  const wrong = {
    name: 'Digits!',
    image: 'digits',
    port: 70_000,
    env: { SERVICE_NAME: 'x', 'a.b': '' },
    hostAddress: 'gw',
  };
  const refusal = String(await createEdgeService(contextOf(rig), wrong, quiet).catch((error: unknown) => error));
  for (const part of [
    'name is "Digits!"',
    'no device is meant',
    '"SERVICE_NAME"',
    '"a.b"',
    'port is 70000',
    'host address is "gw"',
  ]) {
    expect(refusal).toContain(part);
  }
  expect(await rig.client.listDeployments()).toEqual([]);
});

test.each([
  ['an unknown image', { image: 'letters:4' }, 'IMAGE_NOT_FOUND'],
  [
    'a condition that the hub does not understand',
    { deviceTags: undefined, targetCondition: "tags.site = = 'lab'" },
    'DEPLOYMENT_INVALID',
  ],
])('createEdgeService() refuses %s and leaves nothing', async (_what, change, code) => {
  await using rig = await openEdgeRig();
  const { deviceTags, ...rest } = { ...request, ...change };
  const asked = deviceTags === undefined ? rest : { ...rest, deviceTags };
  await expect(createEdgeService(contextOf(rig), asked, quiet)).rejects.toMatchObject({ code });
  expect(await rig.client.listDeployments()).toEqual([]);
  expect(listServices(rig.workspace.database)).toEqual([]);
});

test('createEdgeService() refuses a workspace without a registry', async () => {
  await using rig = await openEdgeRig();
  const { registry: _registry, ...endpoints } = rig.workspace.config.endpoints;
  await rig.workspace.setEndpoints(endpoints, await rig.workspace.secrets());
  await expect(createEdgeService(contextOf(rig), request, quiet)).rejects.toMatchObject({ code: 'ENDPOINT_MISSING' });
  expect(await rig.client.listDeployments()).toEqual([]);
});

test('createEdgeService() refuses an image that its registry does not have, and a registry that does not answer', async () => {
  await using rig = await openEdgeRig();
  const { host } = rig.registry.registry;
  await rig.registry.ask('DELETE', `digits/manifests/${rig.image.split('@')[1]}`);
  await expect(createEdgeService(contextOf(rig), request, quiet)).rejects.toMatchObject({
    code: 'IMAGE_NOT_FOUND',
    message: `Cannot deploy the image "digits:1": the registry ${host} does not have it`,
  });
  await rig.registry.registry.close();
  await expect(createEdgeService(contextOf(rig), request, quiet)).rejects.toMatchObject({
    code: 'REGISTRY_UNREACHABLE',
    message: expect.stringContaining(host),
  });
  expect(await rig.client.listDeployments()).toEqual([]);
});

test('createEdgeService() refuses a name that is taken', async () => {
  await using rig = await openEdgeRig();
  await createEdgeService(contextOf(rig), request, quiet);
  await expect(createEdgeService(contextOf(rig), request, quiet)).rejects.toMatchObject({ code: 'SERVICE_EXISTS' });
  expect(await rig.client.listDeployments()).toHaveLength(1);
});

test('createEdgeService() refuses to take modules from a device, or to stand behind another deployment', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const first = await createEdgeService(contextOf(rig), { ...request, priority: 20 }, quiet);
  await rig.hub.settled();
  const second = { ...request, name: 'letters' };
  const refusal = String(await createEdgeService(contextOf(rig), second, quiet).catch((error: unknown) => error));
  expect(refusal).toContain(`the deployment "${first.deployment.id}" has "gw-1" with priority 20`);
  expect(refusal).toContain('the module "digits" would go from "gw-1"');
  await createEdgeService(contextOf(rig), { ...second, priority: 20 }, { ...quiet, replace: true });
  await rig.hub.settled();
  expect(await observeEdgeService(rig.client, first)).toMatchObject({
    state: 'Failed',
    reason: expect.stringContaining('goes before'),
  });
});

test('createEdgeService() takes up a deployment that a killed process has left in the hub', async () => {
  await using rig = await openEdgeRig();
  const record = await createEdgeService(contextOf(rig), request, quiet);
  rig.workspace.database.exec('DELETE FROM services');
  expect((await createEdgeService(contextOf(rig), request, quiet)).deployment).toEqual(record.deployment);
  expect(await rig.client.listDeployments()).toHaveLength(1);
});

test('createEdgeService() takes its deployment back when the workspace cannot record the service', async () => {
  await using rig = await openEdgeRig();
  rig.workspace.database.exec("CREATE TRIGGER full BEFORE INSERT ON services BEGIN SELECT RAISE(ABORT, 'no'); END");
  await expect(createEdgeService(contextOf(rig), request, quiet)).rejects.toThrow('no');
  expect(await rig.client.listDeployments()).toEqual([]);
});

test('deleteEdgeService() takes the module from the device and leaves what is not the service’s', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  await rig.client.addEdgeDevice('gw-2', { site: 'office' });
  const record = await createEdgeService(contextOf(rig), request, quiet);
  await rig.hub.settled();
  const cleared = await deleteEdgeService(contextOf(rig), record);
  expect(cleared).toEqual(['gw-1']);
  await using agent = await rig.connectAgent('gw-1');
  expect(await agent.desired()).toEqual({});
  const twin = await rig.client.getTwin('gw-1', '$edgeAgent');
  expect(twin.properties.desired).toMatchObject({ schemaVersion: '1.1', runtime: { type: 'docker' } });
  expect(listServices(rig.workspace.database)).toEqual([]);
  expect(await rig.client.listDeployments()).toEqual([]);
});

test('deleteEdgeService() leaves a device to the deployment that takes it over, and finishes what was cut short', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  await createEdgeService(contextOf(rig), { ...request, name: 'base', priority: 1 }, quiet);
  await rig.hub.settled();
  const record = await createEdgeService(contextOf(rig), request, { ...quiet, replace: true });
  await rig.hub.settled();
  // As a process that was killed after its first step.
  await rig.client.removeDeployment(record.deployment.id);
  await rig.hub.settled();
  expect(await deleteEdgeService(contextOf(rig), record)).toEqual([]);
  await using agent = await rig.connectAgent('gw-1');
  expect(await agent.desired()).toEqual({ base: rig.image });
  expect(listServices(rig.workspace.database).map(({ name }) => name)).toEqual(['base']);
});
