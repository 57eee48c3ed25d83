import { FerryError } from '../../shared/errors.ts';
import type { VersionedName } from '../../shared/model/name.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { findImage, type Image } from './image.ts';

/**
 * Deletes a version of an image that no service uses; its number is never given again. What was pushed stays in the registry.
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
  const others = database
    .prepare('SELECT count(*) FROM images WHERE name = ? AND digest = ?')
    .pluck()
    .get(image.name, image.digest);
  if (others === 0) await layout.removeManifest(image.name, image.digest);
  return image;
}

/** Gives the names of the services that use an image. */
export function servicesOf(database: WorkspaceDatabase, { name, version }: Pick<Image, 'name' | 'version'>): string[] {
  return database
    .prepare('SELECT name FROM services WHERE image_name = ? AND image_version = ? ORDER BY name')
    .pluck()
    .all(name, version) as string[];
}

function refuseInUse({ name, version }: Image, services: readonly string[]): void {
  if (services.length === 0) return;
  throw new FerryError(
    'IN_USE',
    `Cannot delete the image "${name}:${version}": it is used by the services ${services.join(', ')}`,
    { next: 'Delete these services first with `ferry service delete`.' },
  );
}
