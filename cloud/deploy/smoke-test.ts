import { FerryError } from '../../shared/errors.ts';
import { answerDifference } from '../../shared/model/answer-difference.ts';
import { parseVersionedName } from '../../shared/model/name.ts';
import { findImage } from '../images/image.ts';
import { findModel } from '../models/model.ts';
import type { Sample } from '../models/sample.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import type { ServiceRecord } from './service-records.ts';

/**
 * Gives the sample that the model behind a service's `/score` was registered with.
 * @throws {FerryError} USAGE when there is none
 */
export function sampleOf(database: WorkspaceDatabase, record: ServiceRecord): Sample {
  const { script, models } = findImage(database, record.image);
  const [first] = models;
  const model = first === undefined || script !== null ? undefined : findModel(database, parseVersionedName(first));
  if (model?.sample) return model.sample;
  const found = script === null ? `the model "${first ?? ''}" was registered without one` : 'its image has a script';
  throw new FerryError('USAGE', `Cannot score a sample on the service "${record.name}": ${found}`, {
    next: 'Give rows with --input.',
  });
}

/**
 * Compares a service's answer with what the sample gave when the model was registered.
 * @throws {FerryError} SCORING_FAILED naming what differs
 */
export function checkAnswer(record: ServiceRecord, { expected, answer }: { expected: unknown; answer: unknown }): void {
  const difference = answerDifference(expected, answer);
  if (difference === undefined) return;
  throw new FerryError(
    'SCORING_FAILED',
    `Cannot accept what the service "${record.name}" answers to the sample: ${difference}`,
  );
}
