import { listImages } from '../images/image.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';

/** Gives a function that names an image reference as the workspace does, `digits:2`; what the workspace does not know stays as it is. */
export function imageNames(database: WorkspaceDatabase): (reference: string) => string {
  const names = new Map(
    listImages(database).map(({ name, version, digest }) => [digest as string, `${name}:${version}`]),
  );
  return (reference) => names.get(reference.slice(reference.indexOf('@') + 1)) ?? reference;
}
