import { statSync } from 'node:fs';
import { engineComponents, findEngineFiles } from './engine-packages.ts';
import type { LayerContent } from './layer-cache.ts';
import type { ImagePlatform } from './platform.ts';
import { bundleServer } from './server-bundle.ts';

const engineFolder = '/opt/modelferry';

/** Where the scoring server is in every image. */
export const serverPath = `${engineFolder}/server.mjs`;

/** Where the thread that uploads finds its module, beside the server's; only a service in the cloud loads it. */
const uploadPath = `${engineFolder}/upload.mjs`;

/** Makes the engine of an image: the scoring server, and beside it ONNX Runtime and SQLite for the platform. */
export async function engine(platform: ImagePlatform): Promise<LayerContent> {
  const [server, upload] = await Promise.all([bundleServer('scoring'), bundleServer('upload')]);
  const files = findEngineFiles(platform);
  return {
    inputs: [...new Set([...server.inputs, ...upload.inputs, ...files.map(({ file }) => file)])],
    components: [...engineComponents(), ...server.components, ...upload.components],
    entries: [
      { kind: 'file', path: serverPath, content: server.content },
      { kind: 'file', path: uploadPath, content: upload.content },
      ...files.map(({ file, place }) => ({
        kind: 'file' as const,
        path: `${engineFolder}/node_modules/${place}`,
        content: { file, size: statSync(file).size },
      })),
    ],
  };
}
