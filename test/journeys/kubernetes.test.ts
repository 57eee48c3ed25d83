import { expect, test } from 'vitest';
import { ClusterWorld, hasCluster, score, scoreWhile } from './cluster-world.ts';
import { findService } from './find-service.ts';

test.skipIf(!hasCluster)(
  'a service on Kubernetes: restricted namespace, keys, search, update under load without a failed request, deletion leaves nothing',
  { timeout: 240_000 },
  async () => {
    await using world = await ClusterWorld.open();
    await world.makeImages();
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await world.core.createNamespace({ body: { metadata: { name: 'scoring', labels } } });
    const marks = ['--tag', 'area=vision', '--property', 'run=7'];
    const created = await world.createDigits('--namespace', 'scoring', ...marks);
    const scoringUri = String(created['scoringUri']);
    const authorization = `Bearer ${await world.keyOf('digits')}`;
    expect((await score(scoringUri, {})).status).toBe(401);
    expect((await score(scoringUri, { authorization: 'Bearer not-a-key-of-this-service' })).status).toBe(401);
    expect((await score(scoringUri, { authorization })).status).toBe(200);
    await findService(world.folder, 'digits', {
      model: 'digits:1',
      image: 'digits:1',
      digest: String(created['imageDigest']),
      target: 'aks/sim',
      tag: 'area=vision',
      property: 'run=7',
    });
    const answers = await scoreWhile(
      () => world.done('service', 'update', 'digits', '--image', 'digits:2', '--wait'),
      () => score(scoringUri, { authorization }),
    );
    expect([...answers]).toEqual([200]);
    const { stdout: logs } = await world.ferry('service', 'logs', 'digits', '--tail', '5');
    expect(logs).toContain('"program":"scoring"');
    // Its name is free at once, while the pods of before still end.
    await world.done('service', 'delete', 'digits');
    const again = await world.createDigits('--namespace', 'scoring', '--no-auth');
    expect((await score(String(again['scoringUri']), {})).status).toBe(200);
    await world.done('service', 'delete', 'digits');
    await world.becomesEmpty('scoring');
  },
);
