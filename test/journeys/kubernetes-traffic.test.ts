import type { V1Pod } from '@kubernetes/client-node';
import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { ClusterWorld, hasCluster, score, scoreWhile } from './cluster-world.ts';

test.skipIf(!hasCluster)(
  'versions of a service on Kubernetes: a share of the traffic, copies, a version by name, promotion, no failed request',
  { timeout: 300_000 },
  async () => {
    await using world = await ClusterWorld.open();
    await world.makeImages();
    const created = await world.createDigits();
    const uri = String(created['scoringUri']);
    const authorization = `Bearer ${await world.keyOf('digits')}`;
    const ask = (headers: Record<string, string> = {}): Promise<Response> => score(uri, { authorization, ...headers });
    // A kept connection that nobody used while pods ended may end just as it is used again (RFC 9112, 9.5); under requests none does.
    const askAgain = (headers?: Record<string, string>): Promise<Response> => ask(headers).catch(() => ask(headers));
    const versionOf = (response: Response): string | null => response.headers.get('x-modelferry-version');
    const update = (...args: string[]) => world.done('service', 'update', 'digits', ...args, '--wait');

    // A tenth goes to the next version; nobody notices but by the answer's header.
    const split = () => update('--version-image', 'next=digits:2', '--traffic', 'next=10');
    expect([...(await scoreWhile(split, ask))]).toEqual([200]);
    expect((await world.ferry('image', 'delete', 'digits:2')).stderr).toContain('it is used by the services digits');
    // The pods of before still answer on connections that were kept, until they have ended.
    await until(async () => versionOf(await askAgain()) !== null, { timeoutMs: 60_000 });
    const counts = { default: 0, next: 0 };
    while (counts.default + counts.next < 100) {
      const version = versionOf(await askAgain());
      if (version === 'default' || version === 'next') counts[version] += 1;
    }
    // Two routers, each exact to within one.
    expect(counts.next).toBeGreaterThanOrEqual(8);
    expect(counts.next).toBeLessThanOrEqual(12);
    expect((await score(uri, {})).status).toBe(401);
    expect(versionOf(await askAgain({ 'azureml-model-deployment': 'next' }))).toBe('next');
    expect((await askAgain({ 'azureml-model-deployment': 'none' })).status).toBe(404);

    // Copies of all requests in place of a share of them.
    expect([...(await scoreWhile(() => update('--traffic', 'next=0', '--mirror', 'next=100'), ask))]).toEqual([200]);
    await until(async () => (await routersOf(world)).length === 2, { timeoutMs: 60_000 });
    const before = await copiesOf(world);
    for (let request = 0; request < 20; request += 1) expect(versionOf(await askAgain())).toBe('default');
    // A copy of what was asked before may have been on its way.
    await until(async () => (await copiesOf(world)) >= before + 20);
    expect(await copiesOf(world)).toBeLessThanOrEqual(before + 30);

    // The next version becomes the service's own, and the router goes.
    const promote = () => update('--image', 'digits:2', '--version-image', 'next=');
    expect([...(await scoreWhile(promote, ask))]).toEqual([200]);
    await until(async () => (await world.apps.listNamespacedDeployment({ namespace: 'default' })).items.length === 1);
    await until(async () => versionOf(await askAgain()) === null, { timeoutMs: 60_000 });

    await world.done('service', 'delete', 'digits');
    expect((await world.core.listNamespacedService({ namespace: 'default' })).items).toEqual([]);
  },
);

test.skipIf(!hasCluster)(
  'a version that does not start is taken back, and the service answers as before',
  { timeout: 240_000 },
  async () => {
    await using world = await ClusterWorld.open();
    await world.makeImages();
    await world.done(
      'image',
      'create',
      '--name',
      'broken',
      '--model',
      'digits:2',
      '--script',
      await brokenScript(world),
    );
    const created = await world.createDigits('--no-auth');
    const uri = String(created['scoringUri']);
    const update = ['service', 'update', 'digits', '--version-image', 'bad=broken:1', '--traffic', 'bad=50', '--wait'];
    const failed = await world.ferry(...update, '--timeout', '60');
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(/digits-v-bad-\S+: it ended with 3: .*Cannot (load|start)/);
    expect(failed.stderr).toContain('it runs on with digits:1');
    expect((await score(uri, {})).status).toBe(200);
    await until(async () => (await world.apps.listNamespacedDeployment({ namespace: 'default' })).items.length === 1);
  },
);

async function routersOf({ core }: ClusterWorld): Promise<readonly V1Pod[]> {
  const labelSelector = 'app.kubernetes.io/component=router';
  return (await core.listNamespacedPod({ namespace: 'default', labelSelector })).items;
}

/** Counts the copies that a version has answered, over all routers. */
async function copiesOf(world: ClusterWorld): Promise<number> {
  const counts = (await routersOf(world)).map(async ({ status }) => {
    const response = await fetch(`http://${status?.podIP}:5003/metrics`);
    const line = /^modelferry_mirrored_requests_total\{version="next",outcome="answered"\} (\d+)$/m;
    return Number(line.exec(await response.text())?.[1] ?? 0);
  });
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

async function brokenScript({ folder }: ClusterWorld): Promise<string> {
  const path = `${folder}/broken.ts`;
  await writeFile(
    path,
    `export function init() { throw new Error('this script does not start'); }\nexport function run() {}\n`,
  );
  return path;
}
