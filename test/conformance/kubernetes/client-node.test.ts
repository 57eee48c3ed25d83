import {
  AppsV1Api,
  CoreV1Api,
  KubeConfig,
  KubernetesObjectApi,
  type KubernetesObject,
  Log,
  PatchStrategy,
  Watch,
} from '@kubernetes/client-node';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../../until.ts';
import { ClusterRig, webDeployment } from './cluster-rig.ts';

let rig: ClusterRig;
let config: KubeConfig;

beforeAll(async () => {
  rig = await ClusterRig.open();
  config = new KubeConfig();
  config.loadFromFile(rig.cluster.kubeconfigFile);
}, 60_000);
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
});

test(
  '@kubernetes/client-node applies by server-side apply, watches, reads logs and deletes',
  { timeout: 120_000 },
  async () => {
    const objects = KubernetesObjectApi.makeApiClient(config);
    const apps = config.makeApiClient(AppsV1Api);
    const core = config.makeApiClient(CoreV1Api);
    const seen: string[] = [];
    const watching = await new Watch(config).watch(
      '/api/v1/namespaces/default/pods',
      { labelSelector: 'app=web', allowWatchBookmarks: true },
      (type: string) => seen.push(type),
      () => undefined,
    );
    const deployment = {
      ...webDeployment(rig, { name: 'web' }),
      metadata: { name: 'web', namespace: 'default' },
    } as KubernetesObject;
    await objects.patch(deployment, undefined, undefined, 'a-client', true, PatchStrategy.ServerSideApply);
    await until(
      async () =>
        (await apps.readNamespacedDeployment({ name: 'web', namespace: 'default' })).status?.readyReplicas === 1,
      { timeoutMs: 60_000 },
    );
    expect(seen).toContain('ADDED');
    expect(seen).toContain('MODIFIED');
    const { items } = await core.listNamespacedPod({ namespace: 'default', labelSelector: 'app=web', limit: 1 });
    const [pod] = items;
    expect(pod?.metadata?.creationTimestamp).toBeInstanceOf(Date);
    let output = '';
    const sink = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        output += chunk.toString();
        done();
      },
    });
    const following = await new Log(config).log('default', pod?.metadata?.name ?? '', 'web', sink, {
      follow: true,
      tailLines: 5,
    });
    await until(() => output.includes('hello is up'));
    await objects.delete(deployment, undefined, undefined, undefined, undefined, 'Foreground');
    await until(
      async () => (await core.listNamespacedPod({ namespace: 'default', labelSelector: 'app=web' })).items.length === 0,
      {
        timeoutMs: 30_000,
      },
    );
    expect(seen).toContain('DELETED');
    following.abort();
    watching.abort();
    await expect(apps.readNamespacedDeployment({ name: 'web', namespace: 'default' })).rejects.toMatchObject({
      code: 404,
    });
  },
);

test('a watch of @kubernetes/client-node goes on from a revision that it had', async () => {
  const core = config.makeApiClient(CoreV1Api);
  await core.createNamespacedConfigMap({ namespace: 'default', body: { metadata: { generateName: 'any-' } } });
  const events: { type: string; code?: number }[] = [];
  await new Promise<void>((resolve, reject) => {
    new Watch(config)
      .watch(
        '/api/v1/configmaps',
        { resourceVersion: '1', timeoutSeconds: 1 },
        (type: string, object: { code?: number }) =>
          events.push({ type, ...(object.code === undefined ? {} : { code: object.code }) }),
        () => resolve(),
      )
      .catch(reject);
  });
  expect(events.some(({ type }) => type === 'ADDED')).toBe(true);
});
