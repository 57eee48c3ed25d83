import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { env } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { loadModel } from '../../../agent/scoring/model/load-model.ts';
import { createLogger } from '../../../shared/log.ts';
import { processorKind } from '../../../shared/model/processor.ts';
import type { ServiceModel } from '../../../shared/model/service-config.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { identityModel } from './made-models.ts';

const log = createLogger('test', { level: 'silent' });
const here = { runtime: env.versions.node ?? '', processor: processorKind() };

test.each<[string, unknown, string, boolean]>([
  ['it is for this runtime and processor', here, 'm.optimized.onnx', true],
  ['it is for another runtime', { ...here, runtime: '1.0.0' }, 'm.optimized.onnx', false],
  ['it is for another processor', { ...here, processor: 'x64+avx9' }, 'm.optimized.onnx', false],
  ['what it is for is not said', {}, 'm.optimized.onnx', false],
  ['it is not there', here, 'elsewhere.onnx', false],
])('loadModel() takes the optimised graph or the original: %s', async (_what, about, file, optimized) => {
  await using folder = await temporaryFolder();
  const models = join(folder.path, 'models/m');
  await mkdir(models, { recursive: true });
  // The two are told apart by what they take.
  await writeFile(join(models, 'm.onnx'), identityModel('float32', [2]));
  await writeFile(join(models, file), identityModel('float32', [3]));
  await writeFile(join(models, 'm.optimized.json'), JSON.stringify(about));
  const tensor = { type: 'float32' as const, shape: ['n'] };
  const model: ServiceModel = {
    name: 'm',
    version: 1,
    format: 'onnx',
    path: '/models/m/m.onnx',
    signature: { inputs: [{ name: 'x', ...tensor }], outputs: [{ name: 'y', ...tensor }] },
  };
  const loaded = await loadModel(model, { root: folder.path, log });
  const length = optimized ? 3 : 2;
  const [y] = loaded.run([{ name: 'x', type: 'float32', shape: [length], data: new Float32Array(length) }]);
  expect(y?.shape).toEqual([length]);
});
