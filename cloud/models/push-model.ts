import { copyImage, type CopyProgress, type CopyResult } from '../../shared/oci/copy-image.ts';
import { layoutPlace } from '../../shared/oci/layout-place.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import { registryPlace } from '../../shared/oci/registry-place.ts';
import type { WorkspaceRegistry } from '../workspace/registry.ts';
import { artifactOf, type Model } from './model.ts';

/**
 * Pushes a model's artifact to the workspace's registry, tagged with its version. Only what the registry does not have is moved. Idempotent.
 * @throws {FerryError} REGISTRY_UNREACHABLE, REGISTRY_REFUSED or TIMEOUT naming the registry
 */
export function pushModel(
  model: Pick<Model, 'name' | 'version' | 'artifactDigest'>,
  { layout, registry }: { readonly layout: LayoutStore; readonly registry: WorkspaceRegistry },
  options: { readonly signal?: AbortSignal; readonly onProgress?: (progress: CopyProgress) => void } = {},
): Promise<CopyResult> {
  const { repository, tag, digest } = artifactOf(model);
  return copyImage({
    from: { place: layoutPlace(layout), repository, reference: digest },
    to: {
      place: registryPlace(registry.client, layout.uploads),
      repository: registry.prefix + repository,
      tags: [tag],
    },
    ...options,
  });
}
