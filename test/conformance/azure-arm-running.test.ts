import type { Container, ContainerGroup } from '@azure/arm-containerinstance';
import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { type ArmRig, groupOf, openArmRig, stayingScript } from './arm-rig.ts';

const quick = { updateIntervalInMs: 50 };

test('a container that ends is started again or not, as the restart policy says', async () => {
  await using rig = await openArmRig();
  const { containerGroups } = rig.containers;
  const failing = await rig.image('echo "it fails"; exit 3');
  const fine = await rig.image('exit 0');
  const states = async (name: string) => {
    const { containers, instanceView } = await containerGroups.get('local', name);
    const view = containers[0]?.instanceView;
    return {
      group: instanceView?.state,
      ...view?.currentState,
      restarts: view?.restartCount,
      previous: view?.previousState,
      events: view?.events,
    };
  };
  await Promise.all([
    containerGroups.beginCreateOrUpdateAndWait('local', 'never', groupOf(failing, { restartPolicy: 'Never' }), quick),
    containerGroups.beginCreateOrUpdateAndWait(
      'local',
      'onfailure',
      groupOf(fine, { restartPolicy: 'OnFailure' }),
      quick,
    ),
    containerGroups.beginCreateOrUpdateAndWait('local', 'always', groupOf(failing), quick),
  ]);
  await until(async () => (await states('never')).state === 'Terminated');
  expect(await states('never')).toMatchObject({ group: 'Failed', exitCode: 3, restarts: 0 });
  await until(async () => (await states('onfailure')).state === 'Terminated');
  expect(await states('onfailure')).toMatchObject({ group: 'Succeeded', exitCode: 0, restarts: 0 });
  const again = await until(async () => {
    const state = await states('always');
    return (state.restarts ?? 0) >= 2 ? state : undefined;
  });
  expect(again).toMatchObject({
    group: 'Running',
    previous: { state: 'Terminated', exitCode: 3, detailStatus: 'Error' },
  });
  expect(again.events?.map(({ name }) => name)).toEqual(['Pulling', 'Pulled', 'Started', 'BackOff']);
  // A run that has only just begun has written nothing yet.
  await until(async () =>
    (await rig.containers.containers.listLogs('local', 'always', 'main')).content?.includes('it fails'),
  );
});

test('logs come whole, by their last lines, and with times', async () => {
  await using rig = await openArmRig();
  const image = await rig.image('for n in 1 2 3; do echo "line $n"; done; while true; do sleep 1; done');
  await create(rig, groupOf(image));
  const { containers } = rig.containers;
  const whole = await until(async () => {
    const { content } = await containers.listLogs('local', 'digits', 'main');
    return content?.includes('line 3') === true ? content : undefined;
  });
  expect(whole).toBe('line 1\nline 2\nline 3\n');
  expect((await containers.listLogs('local', 'digits', 'main', { tail: 1 })).content).toContain('line 3');
  expect((await containers.listLogs('local', 'digits', 'main', { tail: 1 })).content).not.toContain('line 1');
  const { content } = await containers.listLogs('local', 'digits', 'main', { timestamps: true });
  expect(content).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z line 1\n/);
  await expect(containers.listLogs('local', 'digits', 'other')).rejects.toMatchObject({ code: 'ContainerNotFound' });
});

test('stop, start and restart: the address and the name stay', async () => {
  await using rig = await openArmRig();
  const { containerGroups } = rig.containers;
  const image = await rig.image(stayingScript);
  const container = { ...groupOf(image).containers[0], ports: [{ port: 5001 }] } as Container;
  const before = await create(
    rig,
    groupOf(image, { containers: [container], ipAddress: { type: 'Public', ports: [{ port: 5001 }] } }),
  );
  await containerGroups.stop('local', 'digits');
  const stopped = await containerGroups.get('local', 'digits');
  expect(stopped.instanceView?.state).toBe('Stopped');
  expect(stopped.containers[0]?.instanceView?.currentState).toMatchObject({ state: 'Terminated', exitCode: 0 });
  expect(stopped.containers[0]?.instanceView?.events?.at(-1)).toMatchObject({ name: 'Killing' });
  expect((await rig.containers.containers.listLogs('local', 'digits', 'main')).content).toContain('told to end');
  await containerGroups.beginStartAndWait('local', 'digits', quick);
  const started = await containerGroups.get('local', 'digits');
  expect(started.instanceView?.state).toBe('Running');
  expect(started.ipAddress?.ip).toBe(before.ipAddress?.ip);
  const startTime = started.containers[0]?.instanceView?.currentState?.startTime?.getTime() ?? 0;
  await containerGroups.beginRestartAndWait('local', 'digits', quick);
  const restarted = await containerGroups.get('local', 'digits');
  expect(restarted.containers[0]?.instanceView?.currentState?.startTime?.getTime()).toBeGreaterThan(startTime);
});

test('several containers run side by side after the init containers, which share a volume with them', async () => {
  await using rig = await openArmRig();
  const writes = await rig.image('echo prepared > "$SHARED"');
  const reads = await rig.image('cat "$SHARED"; while true; do sleep 1; done');
  const shared = {
    environmentVariables: [{ name: 'SHARED', value: '/mnt/shared/file' }],
    volumeMounts: [{ name: 'shared', mountPath: '/mnt/shared' }],
  };
  const resources = { requests: { cpu: 0.5, memoryInGB: 0.5 } };
  await create(rig, {
    location: 'westeurope',
    osType: 'Linux',
    volumes: [{ name: 'shared', emptyDir: {} }],
    initContainers: [{ name: 'prepare', image: writes, ...shared }],
    containers: [
      { name: 'main', image: reads, resources, ...shared },
      {
        name: 'beside',
        image: await rig.image(stayingScript),
        resources,
        environmentVariables: [{ name: 'GREETING', value: 'you' }],
      },
    ],
  });
  const logs = async (name: string) => (await rig.containers.containers.listLogs('local', 'digits', name)).content;
  expect(await until(() => logs('main'))).toBe('prepared\n');
  expect(await until(() => logs('beside'))).toBe('hello you\n');
  const { initContainers } = await rig.containers.containerGroups.get('local', 'digits');
  expect(initContainers?.[0]?.instanceView?.currentState).toMatchObject({ state: 'Terminated', exitCode: 0 });
});

test('an init container that fails fails the group, and the others are not started', async () => {
  await using rig = await openArmRig();
  const group = groupOf(await rig.image(stayingScript), {
    initContainers: [{ name: 'prepare', image: await rig.image('exit 4') }],
  });
  await expect(create(rig, group)).rejects.toThrow("init container 'prepare' ended with exit code 4");
  const { containers, provisioningState, instanceView } = await rig.containers.containerGroups.get('local', 'digits');
  expect(provisioningState).toBe('Failed');
  expect(instanceView?.events?.[0]?.message).toContain('exit code 4');
  expect(containers[0]?.instanceView?.currentState?.state).toBe('Waiting');
});

test('a container that its liveness probe finds dead is killed and started again', async () => {
  await using rig = await openArmRig();
  const image = await rig.image(stayingScript);
  const probe = { httpGet: { path: '/', port: 5001 }, periodSeconds: 1, failureThreshold: 2 };
  const container = { ...groupOf(image).containers[0], livenessProbe: probe } as Container;
  await create(rig, groupOf(image, { containers: [container] }));
  const view = await until(
    async () => {
      const { containers } = await rig.containers.containerGroups.get('local', 'digits');
      const found = containers[0]?.instanceView;
      return (found?.restartCount ?? 0) > 0 ? found : undefined;
    },
    { timeoutMs: 20_000 },
  );
  const names = view.events?.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['Unhealthy', 'Killing', 'BackOff', 'Started']));
});

test('exec and attach are refused in plain words', async () => {
  await using rig = await openArmRig();
  await create(rig, groupOf(await rig.image(stayingScript)));
  const { containers } = rig.containers;
  const command = { command: '/bin/sh', terminalSize: { rows: 24, cols: 80 } };
  await expect(containers.executeCommand('local', 'digits', 'main', command)).rejects.toThrow('not of this simulator');
  await expect(containers.attach('local', 'digits', 'main')).rejects.toThrow('not of this simulator');
});

async function create(rig: ArmRig, group: ContainerGroup): Promise<ContainerGroup> {
  return await rig.containers.containerGroups.beginCreateOrUpdateAndWait('local', 'digits', group, quick);
}
