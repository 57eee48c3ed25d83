import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { env } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { loadModel } from '../../../agent/scoring/model/load-model.ts';
import { createLogger } from '../../../shared/log.ts';
import { processorKind } from '../../../shared/model/processor.ts';
import type { OptimizedGraph, ServiceModel } from '../../../shared/model/service-config.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { identityModel } from './made-models.ts';

const log = createLogger('test', { level: 'silent' });
const here = { runtime: env.versions.node ?? '', processor: processorKind() };

test.each<[string, Partial<OptimizedGraph>, string]>([
  ['it is for this runtime and processor', {}, 'optimised'],
  ['it is for another runtime', { runtime: '1.0.0' }, 'original'],
  ['it is for another processor', { processor: 'x64+avx9' }, 'original'],
  ['it is not there', { path: '/models/m/none.onnx' }, 'original'],
  ['it is broken', { path: '/models/m/broken.onnx' }, 'original'],
])('loadModel() takes the optimised graph or the original: %s', async (_what, changed, wanted) => {
  await using folder = await temporaryFolder();
  const models = join(folder.path, 'models/m');
  await mkdir(models, { recursive: true });
  // The two are told apart by what they take.
  await writeFile(join(models, 'm.onnx'), identityModel('float32', [2]));
  await writeFile(join(models, 'm.optimized.onnx'), identityModel('float32', [3]));
  await writeFile(join(models, 'broken.onnx'), 'broken');
  const tensor = { type: 'float32' as const, shape: ['n'] };
  const model: ServiceModel = {
    name: 'm',
    version: 1,
    format: 'onnx',
    path: '/models/m/m.onnx',
    signature: { inputs: [{ name: 'x', ...tensor }], outputs: [{ name: 'y', ...tensor }] },
    optimized: { path: '/models/m/m.optimized.onnx', ...here, ...changed },
  };
  const loaded = await loadModel(model, { root: folder.path, log });
  const length = wanted === 'original' ? 2 : 3;
  const [y] = await loaded.run([{ name: 'x', type: 'float32', shape: [length], data: new Float32Array(length) }]);
  expect(y?.shape).toEqual([length]);
});
