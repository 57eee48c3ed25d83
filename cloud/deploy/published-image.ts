import type { Digest } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import { formatReference, parseReference } from '../../shared/oci/reference.ts';
import { openRegistry } from '../workspace/registry.ts';
import type { Workspace } from '../workspace/workspace.ts';

/** An image of the workspace. */
export interface WantedImage {
  readonly name: string;
  readonly version: number;
  readonly digest: Digest;
}

/**
 * Finds an image in the workspace's registry, where devices pull it from.
 * @returns its reference by digest: `<registry>/<name>@sha256:…`
 * @throws {FerryError} ENDPOINT_MISSING when the workspace has no registry
 * @throws {FerryError} IMAGE_NOT_FOUND when the registry does not have the image
 * @throws {FerryError} REGISTRY_UNREACHABLE or REGISTRY_REFUSED naming the registry
 */
export async function findPublishedImage(
  workspace: Workspace,
  image: WantedImage,
  signal: AbortSignal,
): Promise<string> {
  const { registry } = workspace.config.endpoints;
  const id = `${image.name}:${image.version}`;
  if (registry === undefined) {
    throw new FerryError(
      'ENDPOINT_MISSING',
      `Cannot deploy the image "${id}": the workspace has no registry, one that devices pull from was wanted`,
      { next: 'Start the local one with `ferry up`.' },
    );
  }
  const { host, repository } = parseReference(`${registry}/${image.name}@${image.digest}`);
  const found = await openRegistry(host).headManifest(repository, image.digest, { signal });
  if (found !== undefined) return formatReference({ host, repository, digest: image.digest });
  throw new FerryError(
    'IMAGE_NOT_FOUND',
    `Cannot deploy the image "${id}": the registry ${registry} does not have it`,
    {
      next: `Push it: ferry image create with the same models pushes what is missing.`,
    },
  );
}
