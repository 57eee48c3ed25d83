import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serverPath } from '../../../cloud/images/engine-layer.ts';
import { bundleServer } from '../../../cloud/images/server-bundle.ts';
import { type ServiceConfig, serviceConfigPath, type ServiceModel } from '../../../shared/model/service-config.ts';
import { digitsSignature } from '../../agent/scoring/scoring-rig.ts';
import { squareModel } from './square-model.ts';
import { squeezeNet } from './squeezenet.ts';

const checkout = fileURLToPath(new URL('../../../', import.meta.url));

/** Where the perceptron's file is in the checkout. */
export const digitsFile = join(checkout, 'simulators/quickstart/digits/digits-mlp.onnx');

const digits: ServiceModel = {
  name: 'digits',
  version: 1,
  format: 'onnx',
  path: '/models/digits/digits-mlp.onnx',
  signature: digitsSignature,
};

/** Where the model of SqueezeNet's size is in an image. */
export const visionPath = '/models/vision/vision.onnx';

const vision: ServiceModel = {
  name: 'vision',
  version: 1,
  format: 'onnx',
  path: visionPath,
  signature: {
    inputs: [{ name: 'image', type: 'float32', shape: [1, 3, 224, 224] }],
    outputs: [{ name: 'scores', type: 'float32', shape: [1, 1000] }],
  },
};

/** Rows and columns of the model of 100 MB. */
export const squareSize = 5000;

/** Where the model of 100 MB is in an image. */
export const squarePath = '/models/square/square.onnx';

const square: ServiceModel = {
  name: 'square',
  version: 1,
  format: 'onnx',
  path: squarePath,
  signature: {
    inputs: [{ name: 'x', type: 'float32', shape: ['rows', squareSize] }],
    outputs: [{ name: 'y', type: 'float32', shape: ['rows', squareSize] }],
  },
};

const models = {
  digits: { model: digits, write: (path: string) => copyFile(digitsFile, path) },
  square: { model: square, write: (path: string) => writeFile(path, squareModel(squareSize)) },
  vision: { model: vision, write: (path: string) => writeFile(path, squeezeNet()) },
} as const;

/** Makes a folder with what an image holds: the bundled server where an image has it, and one model. */
export async function makeImageRoot(root: string, name: keyof typeof models): Promise<void> {
  const engine = join(root, dirname(serverPath));
  await mkdir(engine, { recursive: true });
  const { modules } = await bundleServer();
  for (const { name: file, content } of modules) await writeFile(join(engine, file), content);
  await symlink(join(checkout, 'node_modules'), join(engine, 'node_modules'));
  const { model: served, write } = models[name];
  const modelPath = join(root, served.path);
  await mkdir(dirname(modelPath), { recursive: true });
  await write(modelPath);
  await mkdir(join(root, 'app'));
  const config: ServiceConfig = { schemaVersion: 1, models: [served] };
  await writeFile(join(root, serviceConfigPath), JSON.stringify(config));
}
