import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ServiceConfig } from '../../../shared/model/service-config.ts';

/** Folder of the digits models and rows. */
const digitsFolder = fileURLToPath(new URL('../../../simulators/quickstart/digits/', import.meta.url));

/** The signature that both digits models have. */
const digitsSignature = {
  inputs: [{ name: 'pixels', type: 'float32', shape: ['batch', 64] }],
  outputs: [
    { name: 'label', type: 'int64', shape: ['batch'] },
    { name: 'probabilities', type: 'float32', shape: ['batch', 10] },
  ],
} satisfies ServiceConfig['models'][number]['signature'];

/** The service configuration of the digits image: version 1 is the perceptron, version 2 the logistic regression. */
export const digitsConfig: ServiceConfig = {
  schemaVersion: 1,
  models: [
    { name: 'digits', version: 1, format: 'onnx', path: '/models/digits/digits-mlp.onnx', signature: digitsSignature },
    {
      name: 'digits',
      version: 2,
      format: 'onnx',
      path: '/models/digits/digits-logistic.onnx',
      signature: digitsSignature,
    },
  ],
};

/** Makes what a digits image has in its root. */
export async function makeDigitsRoot(root: string, config: ServiceConfig = digitsConfig): Promise<void> {
  await mkdir(join(root, 'models/digits'), { recursive: true });
  await mkdir(join(root, 'app'), { recursive: true });
  for (const file of ['digits-mlp.onnx', 'digits-logistic.onnx']) {
    await copyFile(join(digitsFolder, file), join(root, 'models/digits', file));
  }
  await writeFile(join(root, 'app/service.json'), JSON.stringify(config));
}

export { digitsFolder };
