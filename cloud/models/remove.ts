import { FerryError } from '../../shared/errors.ts';
import type { VersionedName } from '../../shared/model/name.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { artifactOf, findModel, type Model } from './model.ts';

/** How many users a refusal names; the rest it counts. */
const namedUsersMax = 10;

/**
 * Deletes a version of a model that no image uses; its number is never given again.
 * @throws {FerryError} MODEL_NOT_FOUND when there is none
 * @throws {FerryError} IN_USE naming the images that use it
 */
export async function removeModel(workspace: Workspace, wanted: VersionedName): Promise<Model> {
  const { database } = workspace;
  // The row goes first: a row whose artifact is gone would promise what is not there.
  const model = database
    .transaction((): Model => {
      const model = findModel(database, wanted);
      refuseInUse(model, imagesOf(database, model));
      database.prepare('DELETE FROM models WHERE name = ? AND version = ?').run(model.name, model.version);
      return model;
    })
    .immediate();
  const layout = await LayoutStore.open(workspace.layoutFolder);
  const { repository, tag, digest } = artifactOf(model);
  await layout.removeTag(repository, tag);
  const others = database
    .prepare('SELECT count(*) FROM models WHERE name = ? AND artifact_digest = ?')
    .pluck()
    .get(model.name, digest);
  if (others === 0) await layout.removeManifest(repository, digest);
  await layout.collectGarbage();
  return model;
}

function refuseInUse({ name, version }: Model, images: readonly string[]): void {
  if (images.length === 0) return;
  const more = images.length > namedUsersMax ? ` and ${images.length - namedUsersMax} more` : '';
  throw new FerryError(
    'IN_USE',
    `Cannot delete the model "${name}:${version}": it is used by the images ${images.slice(0, namedUsersMax).join(', ')}${more}`,
    { next: 'Delete these images first with `ferry image delete`.' },
  );
}

/** Gives the ids of the images that hold a model. */
export function imagesOf(database: WorkspaceDatabase, { name, version }: Pick<Model, 'name' | 'version'>): string[] {
  return database
    .prepare(
      `SELECT image_name || ':' || image_version FROM image_models
       WHERE model_name = ? AND model_version = ? ORDER BY image_name, image_version`,
    )
    .pluck()
    .all(name, version) as string[];
}
