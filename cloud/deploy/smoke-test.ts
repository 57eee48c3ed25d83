import { FerryError } from '../../shared/errors.ts';
import { parseVersionedName } from '../../shared/model/name.ts';
import { findImage, type Image } from '../images/image.ts';
import { findModel } from '../models/model.ts';
import type { Sample } from '../models/sample.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import type { ServiceRecord } from './service-records.ts';

/** Gives the sample that the model behind an image's `/score` was registered with; undefined where there is none, or a script answers. */
export function findSample(database: WorkspaceDatabase, { script, models }: Image): Sample | undefined {
  const [first] = models;
  if (first === undefined || script !== null) return undefined;
  return findModel(database, parseVersionedName(first)).sample ?? undefined;
}

/**
 * Gives the sample that the model behind a service's `/score` was registered with.
 * @throws {FerryError} USAGE when there is none
 */
export function sampleOf(database: WorkspaceDatabase, record: ServiceRecord): Sample {
  const image = findImage(database, record.image);
  const sample = findSample(database, image);
  if (sample !== undefined) return sample;
  const found =
    image.script === null
      ? `the model "${image.models[0] ?? ''}" was registered without one`
      : 'its image has a script';
  throw new FerryError('USAGE', `Cannot score a sample on the service "${record.name}": ${found}`, {
    next: 'Give rows with --input.',
  });
}
