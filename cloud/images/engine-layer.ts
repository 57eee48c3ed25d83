import { statSync } from 'node:fs';
import { productVersion } from '../../shared/version.ts';
import { engineComponents, findEngineFiles } from './engine-packages.ts';
import type { LayerContent } from './layer-cache.ts';
import type { ImagePlatform } from './platform.ts';
import type { Component } from './sbom.ts';
import { bundleServer } from './server-bundle.ts';

const engineFolder = '/opt/modelferry';

/** Where the scoring server is in every image. */
export const serverPath = `${engineFolder}/server.mjs`;

const modelferry: Component = {
  type: 'application',
  name: 'modelferry',
  version: productVersion,
  license: 'Apache-2.0',
};

/** Makes the engine of an image: the scoring server, and beside it ONNX Runtime and SQLite for the platform. */
export async function engine(platform: ImagePlatform): Promise<LayerContent> {
  const bundle = await bundleServer();
  const files = findEngineFiles(platform);
  return {
    inputs: [...bundle.inputs, ...files.map(({ file }) => file)],
    components: [modelferry, ...engineComponents(), ...bundle.components],
    entries: [
      ...bundle.modules.map(({ name, content }) => ({
        kind: 'file' as const,
        path: `${engineFolder}/${name}`,
        content,
      })),
      ...files.map(({ file, place }) => ({
        kind: 'file' as const,
        path: `${engineFolder}/node_modules/${place}`,
        content: { file, size: statSync(file).size },
      })),
    ],
  };
}
