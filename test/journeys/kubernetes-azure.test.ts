import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { ClusterWorld, hasCluster, pictures } from './cluster-world.ts';
import { Insights } from './insights.ts';
import { scoreOverTls, tlsFlags, writeTls } from './tls-client.ts';

const key = 'a-key-of-the-users-own';

test.skipIf(!hasCluster)(
  'a service on AKS by the name of the cluster: namespace, TLS, collection, Application Insights, deletion leaves nothing',
  { timeout: 300_000 },
  async () => {
    await using world = await ClusterWorld.open(['storage', 'arm']);
    await using insights = await Insights.start(world.folder);
    await world.makeImages();
    const attach = ['compute', 'attach', 'prod', '--namespace', 'models', '--cluster'];
    await world.done(...attach, 'other');
    const small = ['--num-replicas', '1', '--cpu-cores', '0.1', '--memory-gb', '0.25', '--primary-key', key];
    const certificate = await writeTls(world.folder);
    const create = [
      'service',
      'create',
      'digits',
      '--image',
      'digits:1',
      '--target',
      'aks/prod',
      ...small,
      ...tlsFlags,
    ];
    const unknown = await world.ferry(...create);
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toMatch(/Cannot fetch the credentials of the cluster "other".*ResourceNotFound/);
    await world.done(...attach, 'modelferry');

    const created = await world.done(...create, '--collect', '--app-insights', '--wait');
    expect(created).toMatchObject({
      state: 'Healthy',
      scoringAddress: expect.stringMatching(/^https:\/\/127\..*:443$/),
    });
    const address = String(created['scoringAddress']);
    const ask = (given: string): Promise<number> => scoreOverTls(address, { certificate, key: given, body: pictures });
    expect(await ask('not-a-key-of-this-service')).toBe(401);
    expect(await ask(key)).toBe(200);
    await insights.untilArrived('digits');

    // Each update signs anew, in the secret alone: no pod is started for it.
    const secretOf = async (): Promise<Record<string, string>> =>
      (await world.core.readNamespacedSecret({ name: 'digits-secrets', namespace: 'models' })).data ?? {};
    const podsOf = async (): Promise<unknown> =>
      (await world.core.listNamespacedPod({ namespace: 'models' })).items.map(({ metadata }) => metadata?.uid);
    const [before, pods] = [await secretOf(), await podsOf()];
    await world.done('service', 'update', 'digits', '--wait');
    const after = await secretOf();
    expect(after['upload-url']).not.toBe(before['upload-url']);
    expect(after['app-insights']).toBe(before['app-insights']);
    expect(await podsOf()).toEqual(pods);
    const shown = JSON.stringify(await world.done('service', 'show', 'digits'));
    const signed = Buffer.from(after['upload-url'] ?? '', 'base64').toString();
    expect(signed).toContain('sig=');
    expect(shown).not.toContain(signed);

    await until(
      async () => JSON.stringify(await world.done('data', 'list', '--service', 'digits')).includes('inputs'),
      { timeoutMs: 90_000 },
    );
    await world.done('service', 'delete', 'digits');
    expect((await world.core.listNamespacedSecret({ namespace: 'models' })).items).toEqual([]);
    expect((await world.core.listNamespacedService({ namespace: 'models' })).items).toEqual([]);
    await until(async () => (await world.core.listNamespacedPod({ namespace: 'models' })).items.length === 0);
  },
);
