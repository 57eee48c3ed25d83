import { CoreV1Api, KubeConfig } from '@kubernetes/client-node';
import Docker from 'dockerode';
import { describe, expect, test } from 'vitest';
import { dockerAnswers } from '../../docker.ts';
import { until } from '../../until.ts';
import { ClusterRig } from './cluster-rig.ts';

if (!dockerAnswers) console.warn('no Docker engine: the network of a pod of several containers is not looked at');

describe.skipIf(!dockerAnswers)('pods in Docker', { timeout: 120_000 }, () => {
  test('containers of a pod in Docker call each other at localhost, also after restarts, and all of them go', async () => {
    await using rig = await ClusterRig.open('docker');
    const config = new KubeConfig();
    config.loadFromFile(rig.cluster.kubeconfigFile);
    const core = config.makeApiClient(CoreV1Api);
    const container = (name: string, port: number) => ({
      name,
      image: rig.image,
      env: [
        { name: 'GREETING', value: name },
        { name: 'MODELFERRY_PORT', value: String(port) },
      ],
      ports: [{ containerPort: port }],
      readinessProbe: { httpGet: { port }, periodSeconds: 1 },
    });
    const named = { name: 'pair', namespace: 'default' };
    const spec = { containers: [container('one', 5001), container('two', 5002)], terminationGracePeriodSeconds: 5 };
    const { metadata } = await core.createNamespacedPod({ namespace: 'default', body: { metadata: named, spec } });
    const restarts = async (): Promise<(number | undefined)[]> => {
      const { status } = await core.readNamespacedPod(named);
      const { containerStatuses = [] } = status ?? {};
      return containerStatuses.map(({ ready, restartCount }) => (ready ? restartCount : undefined));
    };
    const untilReady = (wanted: readonly number[]) =>
      until(async () => JSON.stringify(await restarts()) === JSON.stringify(wanted), {
        timeoutMs: 60_000,
        what: `restarts ${wanted.join(' and ')} of ready containers`,
      });
    await untilReady([0, 0]);
    const address = String((await core.readNamespacedPod(named)).status?.podIP);
    const ask = async (port: number, path: string): Promise<string> =>
      await (await fetch(`http://${address}:${port}${path}`)).text();
    const bothAsk = async (): Promise<void> => {
      expect(await ask(5001, '/ask?port=5002')).toBe('two from pair');
      expect(await ask(5002, '/ask?port=5001')).toBe('one from pair');
    };
    await bothAsk();
    await ask(5001, '/exit').catch(() => undefined);
    await untilReady([1, 0]);
    await bothAsk();
    await ask(5002, '/exit').catch(() => undefined);
    await untilReady([1, 1]);
    await bothAsk();

    const containers = async (): Promise<number> => {
      const filters = JSON.stringify({ label: [`pod=${metadata?.uid}`] });
      return (await new Docker().listContainers({ all: true, filters })).length;
    };
    // Both of now and the runs before, and what holds the network.
    expect(await containers()).toBe(5);
    await core.deleteNamespacedPod(named);
    await until(async () => (await containers()) === 0, { timeoutMs: 30_000 });
  });
});
