import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { modulesIn } from '../../../../cloud/deploy/iotedge/edge-plan.ts';
import { createService, observeService, removeService } from '../../../../cloud/deploy/services.ts';
import type { GivenSettings } from '../../../../cloud/deploy/settings/definitions.ts';
import { planDeployment } from '../../../../cloud/rollout/plan-deployment.ts';
import { finishRollout } from '../../../../cloud/rollout/finish-rollout.ts';
import { readRollout } from '../../../../cloud/rollout/rollout.ts';
import { startRollout } from '../../../../cloud/rollout/start-rollout.ts';
import { getService } from '../../../../cloud/deploy/service-records.ts';
import { systemClock } from '../../../../shared/clock.ts';
import { until } from '../../../until.ts';
import { type EdgeRig, openEdgeRig } from '../../edge-rig.ts';
import { wholeManifest } from './manifests.ts';

const quiet = { replace: false, note: (): void => {}, signal: AbortSignal.timeout(600_000) };
const filterImage = 'myregistry.azurecr.io/filter:1';
const filter = { type: 'docker', settings: { image: filterImage } };
const aLayer = { modulesContent: { $edgeAgent: { 'properties.desired.modules.filter': filter } } };

/** Makes the service with the modules of a manifest. */
async function create(
  rig: EdgeRig,
  manifest: unknown,
  { replace = false, ...more }: GivenSettings & { replace?: boolean },
) {
  const modulesFile = join(rig.folder, 'deployment.json');
  await writeFile(modulesFile, JSON.stringify(manifest));
  const settings = { deviceTags: { site: 'lab' }, modulesFile, ...more };
  const request = { name: 'digits', target: { kind: 'iotedge' as const }, image: 'digits:1', settings };
  return (await createService(rig.workspace, request, { ...quiet, replace })).record;
}

test('a service is as well as the modules that it carries', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const record = await create(rig, wholeManifest(), {});
  await using agent = await rig.connectAgent('gw-1');
  await until(async () => (await agent.desired())['filter'] === filterImage);
  const digits = { runtimeStatus: 'running', settings: { image: rig.image } };
  const seen = async (other: object | undefined) => {
    await agent.report({ code: 200 }, { digits, ...(other && { filter: other }) });
    const { state, reason } = await observeService(rig.workspace, record, quiet.signal);
    return [state, reason];
  };
  expect(await seen(undefined)).toEqual(['Transitioning', 'gw-1: the module "filter" is not there yet']);
  const backoff = { runtimeStatus: 'backoff', exitCode: 1, restartCount: 2, statusDescription: 'no broker' };
  expect(await seen(backoff)).toEqual([
    'Unhealthy',
    'gw-1: the module "filter" is backoff, exit code 1, restarted 2 times: no broker',
  ]);
  expect((await seen({ runtimeStatus: 'failed', statusDescription: 'lost' }))[0]).toBe('Failed');
  // One that has done its work.
  expect(await seen({ runtimeStatus: 'stopped', exitCode: 0 })).toEqual(['Healthy', undefined]);

  const { removed } = await removeService(rig.workspace, 'digits', quiet);
  expect(removed).toContain('the modules on "gw-1"');
  await until(async () => Object.keys(await agent.desired()).length === 0);
});

test('a layer that hides a module of a deployment below needs leave for it, and one that is hidden is refused', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const common = { targetCondition: "tags.site='lab'", labels: {} };
  await rig.client.addDeployment({ ...common, id: 'base', content: wholeManifest(), priority: 5 });
  await rig.hub.settled();
  const layered = { layered: true, priority: 7 };
  await expect(create(rig, aLayer, layered)).rejects.toThrow(
    'on "gw-1" the module "filter" of "base" would be hidden, --replace was wanted to allow that',
  );
  await rig.client.addDeployment({ ...common, id: 'high', content: aLayer, priority: 9 });
  await rig.hub.settled();
  await expect(create(rig, aLayer, { ...layered, replace: true })).rejects.toThrow(
    /on "gw-1" the module "filter" of "high" goes before that of "digits-\w+"/,
  );
  expect(await rig.client.listDeployments()).toHaveLength(2);
  await rig.client.removeDeployment('high');
  await rig.hub.settled();
  expect(await create(rig, aLayer, { ...layered, replace: true })).toMatchObject({
    deployment: { carried: ['filter'] },
  });
});

test('a rollout of a layer may hide the layer that its service has', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  const base = { targetCondition: '*', labels: {}, id: 'base', priority: 5 };
  await rig.client.addDeployment({ ...base, content: { modulesContent: { ...wholeManifest().modulesContent } } });
  const service = { name: 'digits', target: { kind: 'iotedge' as const }, image: 'digits:1' };
  const settings = { deviceTags: { site: 'lab' }, layered: true };
  await createService(rig.workspace, { ...service, settings }, quiet);
  await rig.hub.settled();
  const { workspace, client: hub } = rig;
  const asked = { image: 'digits:1', settings: { env: { A: '1' } }, stages: [{ select: { percent: 100 } }] };
  const planned = await planDeployment({ workspace, hub, signal: quiet.signal }, 'digits', asked);
  const { request, deployment, platform } = planned;
  await startRollout(hub, request, deployment, { ...quiet, platform, clock: systemClock });
  expect((await hub.listDeployments()).map(({ id }) => id)).toContain(deployment.id);
});

test('a rollout carries on what its service carries, and takes no other modules', async () => {
  await using rig = await openEdgeRig();
  await rig.client.addEdgeDevice('gw-1', { site: 'lab' });
  await create(rig, wholeManifest(), {});
  const { workspace, client: hub } = rig;
  const asked = { image: 'digits:1', stages: [{ select: { percent: 100 }, bakeMs: 0 }] };
  const { request, deployment, platform } = await planDeployment(
    { workspace, hub, signal: quiet.signal },
    'digits',
    asked,
  );
  expect(modulesIn(deployment).toSorted()).toEqual(['digits', 'filter']);
  const modules = { settings: { modulesFile: 'another.json' } };
  await expect(
    planDeployment({ workspace, hub, signal: quiet.signal }, 'digits', { ...asked, ...modules }),
  ).rejects.toThrow('Cannot roll "digits" out: other modules (modulesFile) are given');

  // What the service has then is known when it is deleted.
  await startRollout(hub, request, deployment, { ...quiet, platform, clock: systemClock });
  const rollout = await readRollout(hub, deployment.id);
  await finishRollout(workspace, hub, { ...rollout, state: { ...rollout.state, phase: 'done' } });
  expect(getService(workspace.database, 'digits').deployment).toMatchObject({ id: deployment.id, carried: ['filter'] });
});
