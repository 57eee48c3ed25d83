import { expect, test } from 'vitest';
import type { ServiceRequest } from '../../../../cloud/deploy/desired-service.ts';
import type { GivenSettings } from '../../../../cloud/deploy/settings/definitions.ts';
import { listOperations, operationLines } from '../../../../cloud/deploy/operations.ts';
import {
  createService,
  observeService,
  planService,
  removeService,
  updateService,
} from '../../../../cloud/deploy/services.ts';
import { getService, listServices, type ServiceRecord } from '../../../../cloud/deploy/service-records.ts';
import { edgeManifestSchema } from '../../../../shared/edge/manifest.ts';
import { parseCreateOptions } from '../../../../shared/edge/create-options.ts';
import { until } from '../../../until.ts';
import { type EdgeRig, openEdgeRig } from '../../edge-rig.ts';

const settings: GivenSettings = { deviceTags: { site: 'lab' } };
const request: ServiceRequest = { name: 'digits', target: { kind: 'iotedge' }, image: 'digits:1', settings };
const quiet = { replace: false, note: (): void => {}, signal: AbortSignal.timeout(600_000) };

const create = async ({ workspace }: EdgeRig, asked: ServiceRequest, options = quiet) =>
  (await createService(workspace, asked, options)).record;
const idOf = ({ deployment }: ServiceRecord) => String(deployment['id']);
const observe = ({ workspace }: EdgeRig, record: ServiceRecord) => observeService(workspace, record, quiet.signal);

test('createService() puts a deployment by digest into the hub and records the service', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const given: GivenSettings = {
    ...settings,
    port: 5011,
    hostAddress: '0.0.0.0',
    collect: true,
    env: { WORKER_COUNT: '2' },
    memoryMb: 256,
    priority: 7,
  };
  const record = await create(rig, { ...request, settings: given });
  expect(getService(rig.workspace.database, 'digits')).toEqual(record);
  const [deployment] = await rig.client.listDeployments();
  expect(deployment).toMatchObject({ id: idOf(record), targetCondition: "tags.site='lab'", priority: 7 });
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

test('observeService() follows a service from its creation to Healthy', async () => {
  await using rig = await openEdgeRig();
  const early = await create(rig, request);
  expect(await observe(rig, early)).toMatchObject({
    state: 'Transitioning',
    reason: expect.stringContaining('holds for no device'),
  });
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  await rig.hub.settled();
  expect(await observe(rig, early)).toMatchObject({
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
  expect(await observe(rig, early)).toMatchObject({
    state: 'Unhealthy',
    reason: 'gw-1: the module "digits" is backoff, exit code 3, restarted 2 times: no model',
  });
  await agent.report({ code: 200 }, { digits: running });
  const seen = await observe(rig, early);
  expect(seen).toMatchObject({
    state: 'Healthy',
    instances: [{ name: 'gw-1', state: 'Healthy', details: { connected: true } }],
  });
  const deployment = await rig.client.getDeployment(idOf(early));
  expect(deployment.systemMetrics?.results).toMatchObject({
    targetedCount: 1,
    appliedCount: 1,
    reportedSuccessfulCount: 1,
    reportedFailedCount: 0,
  });
});

test('observeService() says Failed when the deployment is gone', async () => {
  await using rig = await openEdgeRig();
  const record = await create(rig, request);
  await rig.client.removeDeployment(idOf(record));
  expect(await observe(rig, record)).toMatchObject({ state: 'Failed' });
});

test('createService() names everything that is wrong with a request at once and touches nothing', async () => {
  await using rig = await openEdgeRig();
  const wrong: ServiceRequest = {
    ...request,
    name: 'Digits!',
    settings: { port: 70_000, env: { SERVICE_NAME: 'x', 'a.b': '' }, hostAddress: 'gw' },
  };
  const refusal = String(await create(rig, wrong).catch((error: unknown) => error));
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
    { settings: { targetCondition: "tags.site = = 'lab'" } },
    'DEPLOYMENT_INVALID',
  ],
])('createService() refuses %s and leaves nothing', async (_what, change, code) => {
  await using rig = await openEdgeRig();
  await expect(create(rig, { ...request, ...change })).rejects.toMatchObject({ code });
  expect(await rig.client.listDeployments()).toEqual([]);
  expect(listServices(rig.workspace.database)).toEqual([]);
});

test('createService() refuses a workspace without a registry', async () => {
  await using rig = await openEdgeRig();
  const { registry: _registry, ...endpoints } = rig.workspace.config.endpoints;
  await rig.workspace.setEndpoints(endpoints, await rig.workspace.secrets());
  await expect(create(rig, request)).rejects.toMatchObject({ code: 'ENDPOINT_MISSING' });
  expect(await rig.client.listDeployments()).toEqual([]);
});

test('createService() refuses an image that its registry does not have, and a registry that does not answer', async () => {
  await using rig = await openEdgeRig();
  const { host } = rig.registry.registry;
  await rig.registry.ask('DELETE', `digits/manifests/${rig.image.split('@')[1]}`);
  await expect(create(rig, request)).rejects.toMatchObject({
    code: 'IMAGE_NOT_FOUND',
    message: `Cannot deploy the image "digits:1": the registry ${host} does not have it`,
  });
  await rig.registry.registry.close();
  await expect(create(rig, request)).rejects.toMatchObject({
    code: 'REGISTRY_UNREACHABLE',
    message: expect.stringContaining(host),
  });
  expect(await rig.client.listDeployments()).toEqual([]);
});

test('createService() refuses a name that is taken', async () => {
  await using rig = await openEdgeRig();
  await create(rig, request);
  await expect(create(rig, request)).rejects.toMatchObject({ code: 'SERVICE_EXISTS' });
  expect(await rig.client.listDeployments()).toHaveLength(1);
});

test('createService() refuses to take modules from a device, or to stand behind another deployment', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const first = await create(rig, { ...request, settings: { ...settings, priority: 20 } });
  await rig.hub.settled();
  const second = { ...request, name: 'letters' };
  const refusal = String(await create(rig, second).catch((error: unknown) => error));
  expect(refusal).toContain(`the deployment "${idOf(first)}" has "gw-1" with priority 20`);
  expect(refusal).toContain('the module "digits" would go from "gw-1"');
  await create(rig, { ...second, settings: { ...settings, priority: 20 } }, { ...quiet, replace: true });
  await rig.hub.settled();
  expect(await observe(rig, first)).toMatchObject({
    state: 'Failed',
    reason: expect.stringContaining('goes before'),
  });
});

test('createService() takes up a deployment that a killed process has left in the hub', async () => {
  await using rig = await openEdgeRig();
  const record = await create(rig, request);
  rig.workspace.database.exec('DELETE FROM services');
  expect((await create(rig, request)).deployment).toEqual(record.deployment);
  expect(await rig.client.listDeployments()).toHaveLength(1);
});

test('createService() takes its deployment back when the workspace cannot record the service', async () => {
  await using rig = await openEdgeRig();
  rig.workspace.database.exec("CREATE TRIGGER full BEFORE INSERT ON services BEGIN SELECT RAISE(ABORT, 'no'); END");
  await expect(create(rig, request)).rejects.toThrow('no');
  expect(await rig.client.listDeployments()).toEqual([]);
});

test('removeService() takes the module from the device and leaves what is not the service’s', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  await rig.client.addEdgeDevice('gw-2', { site: 'office' });
  const record = await create(rig, request);
  await rig.hub.settled();
  const { removed } = await removeService(rig.workspace, record.name, quiet);
  expect(removed).toEqual([`the deployment "${idOf(record)}"`, 'the module on "gw-1"']);
  await using agent = await rig.connectAgent('gw-1');
  expect(await agent.desired()).toEqual({});
  const twin = await rig.client.getTwin('gw-1', '$edgeAgent');
  expect(twin.properties.desired).toMatchObject({ schemaVersion: '1.1', runtime: { type: 'docker' } });
  expect(listServices(rig.workspace.database)).toEqual([]);
  expect(await rig.client.listDeployments()).toEqual([]);
});

test('removeService() leaves a device to the deployment that takes it over, and finishes what was cut short', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  await create(rig, { ...request, name: 'base', settings: { ...settings, priority: 1 } });
  await rig.hub.settled();
  const record = await create(rig, request, { ...quiet, replace: true });
  await rig.hub.settled();
  // As a process that was killed after its first step.
  await rig.client.removeDeployment(idOf(record));
  await rig.hub.settled();
  const { removed } = await removeService(rig.workspace, record.name, quiet);
  expect(removed).toEqual([`the deployment "${idOf(record)}"`]);
  await using agent = await rig.connectAgent('gw-1');
  expect(await agent.desired()).toEqual({ base: rig.image });
  expect(listServices(rig.workspace.database).map(({ name }) => name)).toEqual(['base']);
});

test('updateService() gives devices the new settings in one step, and leaves one deployment', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const before = await create(rig, request);
  const { record } = await updateService(rig.workspace, 'digits', { settings: { port: 5012 } }, quiet);
  expect(getService(rig.workspace.database, 'digits')).toEqual(record);
  expect(record.given).toEqual({ ...settings, port: 5012 });
  expect((await rig.client.listDeployments()).map(({ id }) => id)).toEqual([idOf(record)]);
  expect(idOf(record)).not.toBe(idOf(before));
  await using agent = await rig.connectAgent('gw-1');
  await rig.hub.settled();
  expect(await agent.desired()).toEqual({ digits: rig.image });
});

test('updateService() takes a change back that a device fails at, and says why', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const before = await create(rig, request);
  await rig.hub.settled();
  await using agent = await rig.connectAgent('gw-1');
  const notes: string[] = [];
  const wait = { timeoutMs: 20_000, smokeTest: false };
  const update = updateService(
    rig.workspace,
    'digits',
    { settings: { env: { A: 'b' } } },
    { ...quiet, wait, note: (line) => void notes.push(line) },
  ).catch((error: unknown) => error);
  await until(async () => (await rig.client.listDeployments()).some(({ id }) => id !== idOf(before)));
  await rig.hub.settled();
  const failed = {
    runtimeStatus: 'failed',
    exitCode: 3,
    statusDescription: 'no model',
    settings: { image: rig.image },
  };
  await agent.report({ code: 200 }, { digits: failed });
  expect(await update).toMatchObject({
    code: 'SERVICE_FAILED',
    message: expect.stringMatching(/no model.*; it runs on with digits:1$/),
  });
  expect((await rig.client.listDeployments()).map(({ id }) => id)).toEqual([idOf(before)]);
  expect(getService(rig.workspace.database, 'digits')).toEqual(before);
  const [operation] = listOperations(rig.workspace.database, 'digits');
  expect(operation).toMatchObject({ kind: 'update', state: 'Failed', error: expect.stringContaining('no model') });
  const lines = operationLines(rig.workspace.database, operation?.id ?? 0).map(({ text }) => text);
  expect(lines).toEqual(notes);
  expect(lines.at(-1)).toBe('digits: going back to digits:1');
});

test('a layered service runs beside what a device has, and goes without it', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const layer: ServiceRequest = { ...request, name: 'letters', settings: { ...settings, layered: true, port: 5002 } };
  await expect(create(rig, layer)).rejects.toMatchObject({
    code: 'DEPLOYMENT_INVALID',
    message: expect.stringContaining('there is none below 20'),
  });
  const base = await create(rig, request);
  await rig.hub.settled();
  const plan = await planService(rig.workspace, layer, quiet);
  expect(plan.places).toEqual([
    {
      name: 'gw-1',
      runs: [
        `same digits ${rig.image} (${idOf(base)})`,
        expect.stringMatching(new RegExp(`^new letters ${rig.image} \\(letters-`)),
      ],
    },
  ]);
  expect(await rig.client.listDeployments()).toHaveLength(1);
  const record = await create(rig, layer);
  await rig.hub.settled();
  await using agent = await rig.connectAgent('gw-1');
  expect(await agent.desired()).toEqual({ digits: rig.image, letters: rig.image });
  const running = { runtimeStatus: 'running', settings: { image: rig.image } };
  await agent.report({ code: 200 }, { digits: running, letters: running });
  expect(await observe(rig, record)).toMatchObject({ state: 'Healthy' });
  expect(await observe(rig, base)).toMatchObject({ state: 'Healthy' });
  await removeService(rig.workspace, 'letters', quiet);
  await rig.hub.settled();
  expect(await agent.desired()).toEqual({ digits: rig.image });
});
