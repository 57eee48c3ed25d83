import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { quantizedAnswer, quantizedModel } from '../cloud/models/quantized-model.ts';
import { runFerry } from '../ferry.ts';
import { startLocalWorld } from '../local-world.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const runtimeScript = fileURLToPath(new URL('../../simulators/accelerator/image-script.ts', import.meta.url));
const row = [1, 0.5, 0.25, -0.125];

// Pods are processes here, which share a network as those of a cluster do, and whose load balancer is at port 80.
const canRun = process.platform === 'linux' && process.getuid?.() === 0;
if (!canRun) console.warn('no root, or no Linux: the journey to a simulated accelerator is skipped');

test.skipIf(!canRun)(
  'a quantised model on an accelerator of a cluster: refused where it is not quantised, ready when its runtime is, labelled as simulated',
  { timeout: 240_000 },
  async () => {
    await using folder = await temporaryFolder();
    await chmod(folder.path, 0o755);
    await using world = await startLocalWorld(folder.path, ['--only', 'registry,kubernetes', '--engine', 'process']);
    const { kubernetes } = world.document as unknown as { kubernetes: { kubeconfigFile: string } };
    const ferry = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await runFerry(args, { cwd: folder.path });
      if (code !== 0) throw new Error(`ferry ${args.join(' ')} ended with ${code}: ${stderr}`);
      return stdout;
    };
    const file = join(folder.path, 'int8.onnx');
    await writeFile(file, quantizedModel());
    await ferry('model', 'register', file, '--name', 'net');
    await ferry('image', 'create', '--model', 'net', '--flavor', 'fpga');
    await ferry('image', 'create', '--model', 'net', '--name', 'plain');
    await ferry('image', 'create', '--model', 'net', '--name', 'runtime', '--script', runtimeScript);
    await ferry('compute', 'attach', 'sim', '--kubeconfig', kubernetes.kubeconfigFile, '--namespace', 'default');
    // Its own scoring server, which nobody asks, takes any port: a pod has one network.
    const accelerator = ['--accelerator-image', 'runtime', '--accelerator-env', 'MODELFERRY_PORT=0'];
    const create = ['service', 'create', 'net', '--target', 'fpga/sim', ...accelerator, '--accelerator-share', '1'];
    await expect(ferry(...create, '--image', 'plain')).rejects.toThrow('is of the flavor "web", "fpga" was wanted');
    const created = await ferry(...create, '--image', 'net', '--wait', '--json');
    const { scoringUri } = JSON.parse(created) as { scoringUri: string };
    const keys = JSON.parse(await ferry('service', 'keys', 'show', 'net', '--json')) as { primaryKey: string };
    const answer = await fetch(scoringUri, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${keys.primaryKey}` },
      body: JSON.stringify({ data: [row] }),
    });
    expect(await answer.json()).toEqual({ y: [quantizedAnswer(row)] });
    expect(answer.headers.get('x-modelferry-accelerator')).toBe('simulated');
    await ferry('service', 'delete', 'net');

    // A push chooses the flavor by itself.
    const push = ['push', file, '--name', 'net', '--service', 'pushed', '--to', 'fpga/sim', ...accelerator];
    const pushed = JSON.parse(await ferry(...push, '--json')) as { image: string; service: { state: string } };
    expect(pushed.service.state).toBe('Healthy');
    expect(JSON.parse(await ferry('image', 'show', pushed.image, '--json'))).toMatchObject({ flavor: 'fpga' });
    await ferry('service', 'delete', 'pushed');
  },
);
