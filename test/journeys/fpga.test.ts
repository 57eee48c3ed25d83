import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { quantizedAnswer, quantizedModel } from '../cloud/models/quantized-model.ts';
import { dockerAnswers } from '../docker.ts';
import { ClusterWorld, hasCluster } from './cluster-world.ts';
import { findService } from './find-service.ts';

const runtimeScript = fileURLToPath(new URL('../../simulators/accelerator/image-script.ts', import.meta.url));
const row = [1, 0.5, 0.25, -0.125];

const engines = ['process', 'docker'] as const;
if (!dockerAnswers) console.warn('no Docker engine: the journey to an accelerator in containers is skipped');

// The containers of a pod share a network: as processes that of the machine, in Docker one of their own.
test.skipIf(!hasCluster).each(engines.filter((engine) => engine === 'process' || dockerAnswers))(
  'a quantised model on an accelerator of a cluster of %s: refused where it is not quantised, keys, labelled as simulated, search, deletion leaves nothing',
  { timeout: 240_000 },
  async (engine) => {
    await using world = await ClusterWorld.open([], engine);
    const file = join(world.folder, 'int8.onnx');
    await writeFile(file, quantizedModel());
    await world.done('model', 'register', file, '--name', 'net');
    await world.done('image', 'create', '--model', 'net', '--flavor', 'fpga');
    await world.done('image', 'create', '--model', 'net', '--name', 'plain');
    await world.done('image', 'create', '--model', 'net', '--name', 'runtime', '--script', runtimeScript);
    await world.done('compute', 'attach', 'sim', '--kubeconfig', world.kubeconfigFile, '--namespace', 'cards');
    await world.core.createNamespace({ body: { metadata: { name: 'cards' } } });
    // Its own scoring server, which nobody asks, takes any port: a pod has one network.
    const accelerator = ['--accelerator-image', 'runtime', '--accelerator-env', 'MODELFERRY_PORT=0'];
    const labels = ['--tag', 'area=vision', '--property', 'run=7'];
    const create = ['service', 'create', 'net', '--target', 'fpga/sim', ...accelerator, '--accelerator-share', '1'];
    const plain = await world.ferry(...create, '--image', 'plain');
    expect(plain).toMatchObject({ code: 1, stdout: '' });
    expect(plain.stderr).toContain('is of the flavor "web", "fpga" was wanted');
    const created = await world.done(...create, '--image', 'net', ...labels, '--wait');
    const ask = async (key?: string): Promise<Response> =>
      await fetch(String(created['scoringUri']), {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(key !== undefined && { authorization: `Bearer ${key}` }) },
        body: JSON.stringify({ data: [row] }),
      });
    for (const wrong of [undefined, 'not-a-key-of-this-service']) {
      const refused = await ask(wrong);
      expect(refused.status).toBe(401);
      expect(await refused.text()).not.toContain('"y"');
    }
    const answer = await ask(await world.keyOf('net'));
    expect(await answer.json()).toEqual({ y: [quantizedAnswer(row)] });
    expect(answer.headers.get('x-modelferry-accelerator')).toBe('simulated');
    await findService(world.folder, 'net', {
      model: 'net:1',
      image: 'net:1',
      digest: String(created['imageDigest']),
      target: 'fpga/sim',
      tag: 'area=vision',
      property: 'run=7',
    });
    await world.done('service', 'delete', 'net');
    await world.becomesEmpty('cards');
    expect(await world.done('service', 'list')).toEqual([]);

    // A push chooses the flavor by itself.
    const push = ['push', file, '--name', 'net', '--service', 'pushed', '--to', 'fpga/sim', ...accelerator];
    const pushed = (await world.done(...push)) as { image: string; service: { state: string } };
    expect(pushed.service.state).toBe('Healthy');
    expect(await world.done('image', 'show', pushed.image)).toMatchObject({ flavor: 'fpga' });
    await world.done('service', 'delete', 'pushed');
    await world.becomesEmpty('cards');
  },
);
