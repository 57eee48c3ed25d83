import { listImages } from '../images/image.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';

/** What a workspace knows of an image that a device names. */
export interface KnownImage {
  /** `name:version`; the reference itself where the workspace does not know it. */
  readonly name: string;
  /** Ids of the models in it; none where the workspace does not know it. */
  readonly models: readonly string[];
}

/** Gives what a reference to an image means. */
export type KnowImage = (reference: string) => KnownImage;

/** Gives a function that finds the images of a workspace by the references that devices have. */
export function knownImages(database: WorkspaceDatabase): KnowImage {
  const known = new Map(
    listImages(database).map(({ name, version, digest, models }) => [
      digest as string,
      { name: `${name}:${version}`, models },
    ]),
  );
  return (reference) => known.get(reference.slice(reference.indexOf('@') + 1)) ?? { name: reference, models: [] };
}
