import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { ClusterWorld, hasCluster, score, scoreWhile } from './cluster-world.ts';

test.skipIf(!hasCluster)(
  'a service on Kubernetes has replicas more under load, which answer, and lets them go after, without a failed request',
  { timeout: 240_000 },
  async () => {
    await using world = await ClusterWorld.open();
    await world.makeImages();
    // Half of a fifth of a processor: four callers take more than that, one that asks now and then does not.
    const range = ['--autoscale-min-replicas', '1', '--autoscale-max-replicas', '2', '--autoscale-down-seconds', '2'];
    const scaled = ['--cpu-cores', '0.2', '--autoscale-target-utilization', '50', ...range];
    const { scoringUri } = await world.createScaledDigits(...scaled);
    const authorization = `Bearer ${await world.keyOf('digits')}`;
    // A connection each, as from many clients: the cluster shares out connections.
    const headers = { authorization, connection: 'close' };
    const ask = (): Promise<Response> => score(String(scoringUri), headers);
    // Many rows, so that it is the replica that has to do.
    const askMuch = (): Promise<Response> => score(String(scoringUri), headers, 500);
    expect(await instancesOf(world)).toMatchObject([{ state: 'Healthy' }]);

    const grown = until(async () => (await answersOf(world)).filter((count) => count > 20).length === 2, {
      timeoutMs: 90_000,
      what: 'a second replica that answers',
    });
    const answers = await Promise.all(Array.from({ length: 4 }, () => scoreWhile(() => grown, askMuch)));
    expect(answers.flatMap((statuses) => [...statuses])).toEqual([200, 200, 200, 200]);
    expect(await instancesOf(world)).toMatchObject([{ state: 'Healthy' }, { state: 'Healthy' }]);
    // A change meanwhile leaves the number to the scaler.
    await world.done('service', 'update', 'digits', '--tag', 'area=vision');
    expect((await world.apps.readNamespacedDeployment({ name: 'digits', namespace: 'default' })).spec?.replicas).toBe(
      2,
    );

    const lessThanTwo = async (): Promise<boolean> => {
      expect((await ask()).status).toBe(200);
      // Asked of the cluster: figures that replicas give are work for them too.
      return (await instancesOf(world)).length === 1;
    };
    await until(lessThanTwo, { timeoutMs: 90_000, what: 'one replica again' });
    await until(async () => (await answersOf(world)).length === 1, { timeoutMs: 90_000, what: 'the end of the other' });
    expect(await instancesOf(world)).toMatchObject([{ state: 'Healthy' }]);
    expect((await ask()).status).toBe(200);
    await world.done('service', 'delete', 'digits');
    expect((await world.apps.listNamespacedDeployment({ namespace: 'default' })).items).toEqual([]);
  },
);

test.skipIf(!hasCluster)(
  'a service on Kubernetes that is scaled by load from now on keeps the replicas that it has',
  { timeout: 240_000 },
  async () => {
    await using world = await ClusterWorld.open();
    await world.makeImages();
    await world.createScaledDigits('--num-replicas', '2', '--cpu-cores', '0.1');
    const pods = async (): Promise<unknown> =>
      (await world.core.listNamespacedPod({ namespace: 'default' })).items.map(({ metadata }) => [
        metadata?.uid,
        metadata?.deletionTimestamp,
      ]);
    const replicas = async (): Promise<number | undefined> =>
      (await world.apps.readNamespacedDeployment({ name: 'digits', namespace: 'default' })).spec?.replicas;
    const before = await pods();
    expect(before).toHaveLength(2);
    const range = ['--autoscale-min-replicas', '2', '--autoscale-max-replicas', '3', '--autoscale-down-seconds', '600'];
    await world.done('service', 'update', 'digits', ...range, '--wait');
    expect(await replicas()).toBe(2);
    expect(await pods()).toEqual(before);
    // And back.
    await world.done('service', 'scale', 'digits', '1', '--wait');
    expect(await replicas()).toBe(1);
  },
);

async function instancesOf(world: ClusterWorld): Promise<unknown[]> {
  return (await world.done('service', 'show', 'digits'))['instances'] as unknown[];
}

/** How many requests each pod of the service has answered. */
async function answersOf({ core }: ClusterWorld): Promise<number[]> {
  const { items } = await core.listNamespacedPod({ namespace: 'default' });
  const counts = items.map(async ({ status }) => {
    if (status?.podIP === undefined) return 0;
    const response = await fetch(`http://${status.podIP}:5003/metrics`).catch(() => undefined);
    const lines = ((await response?.text()) ?? '').matchAll(/^modelferry_requests_total\{.*code="200".*\} (\d+)$/gm);
    return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
  });
  return await Promise.all(counts);
}
