import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { kubectlVersion } from '../conformance/kubernetes/cluster-rig.ts';
import { ClusterWorld, hasCluster, score } from './cluster-world.ts';

const version = await kubectlVersion();
if (version < 27) console.warn('no kubectl 1.27 or later: what `--dry-run` prints is not applied by it');

test.skipIf(!hasCluster || version < 27)(
  'what --dry-run prints is applied by kubectl, strictly checked, rolls out, answers, and is read back',
  { timeout: 300_000 },
  async () => {
    await using world = await ClusterWorld.open();
    await world.makeImages();
    await world.done('compute', 'attach', 'sim', '--kubeconfig', world.kubeconfigFile, '--namespace', 'models');
    const small = ['--num-replicas', '1', '--cpu-cores', '0.1', '--memory-gb', '0.25', '--no-auth'];
    const split = ['--version-image', 'next=digits:2', '--traffic', 'next=50'];
    const create = ['service', 'create', 'digits', '--image', 'digits:1', '--target', 'aks/sim', ...small, ...split];
    const planned = await world.ferry(...create, '--dry-run');
    expect(planned).toMatchObject({ code: 0 });
    const file = join(world.folder, 'digits.yaml');
    await writeFile(file, planned.stdout);
    const kubectl = async (...args: string[]): Promise<string> => {
      const all = ['--kubeconfig', world.kubeconfigFile, '--namespace', 'models', ...args];
      return (await promisify(execFile)('kubectl', all)).stdout;
    };
    // The namespace is the file's own first object; only what is in no namespace yet can be asked of the server before.
    expect(await kubectl('apply', '--dry-run=client', '--validate=strict', '-f', file)).toContain('namespace/models');
    const applied = await kubectl('apply', '--validate=strict', '-f', file);
    for (const made of ['namespace/models', 'deployment.apps/digits-router', 'service/digits-v-next'])
      expect(applied).toContain(`${made} created`);
    for (const name of ['digits', 'digits-v-next', 'digits-router']) {
      expect(await kubectl('rollout', 'status', `deployment/${name}`, '--timeout=100s')).toContain(
        'successfully rolled out',
      );
    }
    expect(await kubectl('get', 'deployments')).toMatch(/^digits-router\s+2\/2\s+2\s+2/m);
    expect(await kubectl('describe', 'deployment', 'digits')).toContain('NewReplicaSetAvailable');
    expect(await kubectl('describe', 'service', 'digits')).toMatch(/Endpoints:\s+127\.1\.\d+\.\d+:5001,127\.1/);
    expect(await kubectl('logs', 'deployment/digits')).toContain('"msg":"ready"');
    const address = await kubectl('get', 'service', 'digits', '-o', 'jsonpath={.status.loadBalancer.ingress[0].ip}');
    const seen = new Set<string | null>();
    for (let request = 0; request < 4; request += 1) {
      const answer = await score(`http://${address}/score`, {});
      expect(answer.status).toBe(200);
      seen.add(answer.headers.get('x-modelferry-version'));
    }
    expect(seen).toEqual(new Set(['default', 'next']));
    // Given again nothing changes; of a budget kubectl says that it does, since its selector is sent whole.
    const again = (await kubectl('apply', '-f', file)).split('\n').filter((line) => !line.startsWith('poddisruption'));
    expect(again.join('\n')).not.toMatch(/created|configured/);
    expect(await kubectl('diff', '-f', file)).toBe('');
  },
);

test.skipIf(!hasCluster || version < 27)(
  'a rollout that fails is undone and explained, and kubectl shows what runs',
  { timeout: 300_000 },
  async () => {
    await using world = await ClusterWorld.open();
    await world.makeImages();
    const { scoringUri } = await world.createDigits('--no-auth');
    const imageOf = async (): Promise<string | undefined> => {
      const { spec } = await world.apps.readNamespacedDeployment({ name: 'digits', namespace: 'default' });
      return spec?.template.spec?.containers[0]?.image;
    };
    const before = await imageOf();
    const update = ['service', 'update', 'digits', '--env', 'MODELFERRY_WAITING_MAX=none', '--image', 'digits:2'];
    const failed = await world.ferry(...update, '--wait', '--timeout', '60');
    expect(failed.code).toBe(1);
    // The container's own words, and what is served on.
    expect(failed.stderr).toContain('MODELFERRY_WAITING_MAX');
    expect(failed.stderr).toContain('it runs on with digits:1');
    expect(await imageOf()).toBe(before);
    expect((await score(String(scoringUri), {})).status).toBe(200);
    const args = ['--kubeconfig', world.kubeconfigFile, 'rollout', 'status', 'deployment/digits', '--timeout=60s'];
    expect((await promisify(execFile)('kubectl', args)).stdout).toContain('successfully rolled out');
    expect(await world.done('service', 'show', 'digits')).toMatchObject({ state: 'Healthy', image: 'digits:1' });
  },
);
