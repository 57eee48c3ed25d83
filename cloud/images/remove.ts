import type { Digest } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import type { VersionedName } from '../../shared/model/name.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { findImage, type Image, listImages } from './image.ts';

/**
 * Deletes a version of an image that no service uses, and what nothing else needs of it; its number is never given again. Parts that are younger than
 * an hour stay, since a build may be about to refer to them, and go with a later deletion. What was pushed stays in the registry.
 * @throws {FerryError} IMAGE_NOT_FOUND when there is none
 * @throws {FerryError} IN_USE naming the services that use it
 */
export async function removeImage(workspace: Workspace, wanted: VersionedName): Promise<Image> {
  const { database } = workspace;
  // The row goes first: a row whose image is gone would promise what is not there.
  const image = database
    .transaction((): Image => {
      const image = findImage(database, wanted);
      refuseInUse(image, servicesOf(database, image));
      database.prepare('DELETE FROM images WHERE name = ? AND version = ?').run(image.name, image.version);
      return image;
    })
    .immediate();
  const layout = await LayoutStore.open(workspace.layoutFolder);
  await layout.removeTag(image.name, String(image.version));
  await dropImage(workspace, layout, image);
  await layout.collectGarbage();
  return image;
}

/** Removes an image's manifests from the layout, but those that a version of the same name still has. */
export async function dropImage(
  { database }: Workspace,
  layout: LayoutStore,
  dropped: Pick<Image, 'name' | 'digest' | 'sbom'>,
): Promise<void> {
  const { name } = dropped;
  const kept = new Set<Digest>();
  for (const image of listImages(database, { name })) {
    for (const manifest of await manifestsOf(layout, image)) kept.add(manifest);
  }
  for (const manifest of await manifestsOf(layout, dropped)) {
    if (!kept.has(manifest)) await layout.removeManifest(name, manifest);
  }
}

/** Gives the digests of an image's manifest, or of its index and the manifests in it, and of its SBOM; the image's own first. */
async function manifestsOf(
  layout: LayoutStore,
  { name, digest, sbom }: Pick<Image, 'name' | 'digest' | 'sbom'>,
): Promise<readonly Digest[]> {
  const document = await layout.readManifest(name, digest);
  const children = document?.kind === 'index' ? document.index.manifests.map((child) => child.digest) : [];
  return [digest, ...children, sbom];
}

/** Gives the names of the services that use an image. */
export function servicesOf(database: WorkspaceDatabase, { name, version }: Pick<Image, 'name' | 'version'>): string[] {
  return database
    .prepare(
      `SELECT name FROM services WHERE image_name = ? AND image_version = ?
       OR EXISTS (SELECT 1 FROM json_each(settings, '$.versions') WHERE value = ?) ORDER BY name`,
    )
    .pluck()
    .all(name, version, `${name}:${version}`) as string[];
}

function refuseInUse({ name, version }: Image, services: readonly string[]): void {
  if (services.length === 0) return;
  throw new FerryError(
    'IN_USE',
    `Cannot delete the image "${name}:${version}": it is used by the services ${services.join(', ')}`,
    { next: 'Delete these services first with `ferry service delete`.' },
  );
}
