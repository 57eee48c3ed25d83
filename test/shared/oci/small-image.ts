import type { Descriptor } from '../../../shared/oci/descriptor.ts';
import type { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { encodeJson } from '../../../shared/oci/manifest.ts';
import { mediaTypes } from '../../../shared/oci/media-types.ts';
import { tarLayer } from '../../../shared/oci/tar-layer.ts';

/** Stores an image of one layer that holds one file, `/app/message`, and gives its manifest's descriptor. */
export async function smallImage(
  store: LayoutStore,
  repository: string,
  tag: string | undefined,
  message = 'hello',
): Promise<Descriptor> {
  const layer = await store.putBlob(tarLayer([{ kind: 'file', path: 'app/message', content: Buffer.from(message) }]));
  const config = await store.putBlob(
    encodeJson({
      architecture: 'amd64',
      os: 'linux',
      config: { WorkingDir: '/app' },
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    }),
  );
  const manifest = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, ...config },
    layers: [{ mediaType: mediaTypes.layer, ...layer }],
  });
  return store.putManifest(repository, tag, manifest, mediaTypes.manifest);
}
