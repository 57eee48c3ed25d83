import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { KubeConfig, CoreV1Api } from '@kubernetes/client-node';
import heldOut from '../../simulators/quickstart/digits/digits-heldout.json' with { type: 'json' };
import { runFerry } from '../ferry.ts';
import { startLocalWorld } from '../local-world.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';

const models = fileURLToPath(new URL('../../simulators/quickstart/digits/', import.meta.url));

// A load balancer's address is one of loopback at port 80, which needs root and Linux.
const canRun = process.platform === 'linux' && process.getuid?.() === 0;
if (!canRun) console.warn('no root, or no Linux: the journey to the simulated Kubernetes is skipped');

test.skipIf(!canRun)(
  'a service on Kubernetes: restricted namespace, keys, update under load without a failed request, deletion leaves nothing',
  { timeout: 240_000 },
  async () => {
    await using folder = await temporaryFolder();
    // Replicas run as another user, who has to get to their files.
    await chmod(folder.path, 0o755);
    await using world = await startLocalWorld(folder.path, ['--only', 'registry,kubernetes']);
    const { kubernetes } = world.document as unknown as { kubernetes: { kubeconfigFile: string } };
    const config = new KubeConfig();
    config.loadFromFile(kubernetes.kubeconfigFile);
    const core = config.makeApiClient(CoreV1Api);
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await core.createNamespace({ body: { metadata: { name: 'scoring', labels } } });
    const ferry = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await runFerry(args, { cwd: folder.path });
      if (code !== 0) throw new Error(`ferry ${args.join(' ')} ended with ${code}: ${stderr}`);
      return stdout;
    };
    await ferry('model', 'register', join(models, 'digits-mlp.onnx'), '--name', 'digits');
    await ferry('model', 'register', join(models, 'digits-logistic.onnx'), '--name', 'digits');
    await ferry('image', 'create', '--name', 'digits', '--model', 'digits:1');
    await ferry('image', 'create', '--name', 'digits', '--model', 'digits:2');
    await ferry('compute', 'attach', 'sim', '--kubeconfig', kubernetes.kubeconfigFile, '--namespace', 'scoring');
    const created = await ferry(
      'service',
      'create',
      'digits',
      '--image',
      'digits:1',
      '--target',
      'aks/sim',
      '--wait',
      '--json',
    );
    const { scoringUri } = JSON.parse(created) as { scoringUri: string };
    const { primaryKey } = JSON.parse(await ferry('service', 'keys', 'show', 'digits', '--json')) as {
      primaryKey: string;
    };
    const body = JSON.stringify({ pixels: heldOut.pixels.slice(0, 2) });
    const score = async (key?: string): Promise<number> => {
      const headers = {
        'content-type': 'application/json',
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      };
      const response = await fetch(scoringUri, { method: 'POST', headers, body });
      await response.arrayBuffer();
      return response.status;
    };
    expect(await score()).toBe(401);
    expect(await score(primaryKey)).toBe(200);
    const over = new AbortController();
    const answers = new Map<number | string, number>();
    const asking = (async () => {
      while (!over.signal.aborted) {
        const answer = await score(primaryKey).catch((error: unknown) => String(error));
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
      }
    })();
    await ferry('service', 'update', 'digits', '--image', 'digits:2', '--wait');
    over.abort();
    await asking;
    expect([...answers.keys()]).toEqual([200]);
    expect(await ferry('service', 'logs', 'digits', '--tail', '5')).toContain('"program":"scoring"');
    await ferry('service', 'delete', 'digits');
    await until(async () => (await core.listNamespacedService({ namespace: 'scoring' })).items.length === 0);
    expect((await core.listNamespacedSecret({ namespace: 'scoring' })).items).toEqual([]);
  },
);
