import type { LayerEntry } from '../../shared/oci/tar-layer.ts';
import type { ModelFiles } from './model-files.ts';

/** Says where the files of a model are in its layer. */
export function layerEntries(name: string, files: ModelFiles['files']): readonly LayerEntry[] {
  return files.map(({ path, file, sizeBytes }) => ({
    kind: 'file',
    path: `/models/${name}/${path}`,
    content: { file, size: sizeBytes },
  }));
}
