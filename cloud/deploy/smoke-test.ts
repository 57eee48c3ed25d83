import { FerryError } from '../../shared/errors.ts';
import { parseVersionedName } from '../../shared/model/name.ts';
import { findImage } from '../images/image.ts';
import { findModel } from '../models/model.ts';
import type { Sample } from '../models/sample.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import type { ServiceRecord } from './service-records.ts';

/** How far a number may be from the one of the registration, and by which share of it: other processors round otherwise. */
const tolerance = { absolute: 1e-5, relative: 1e-4 };
/** Most differences that are named; the first say what is wrong. */
const namedMax = 5;

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
  const differences = differencesOf(expected, answer, '');
  if (differences.length === 0) return;
  const more = differences.length > namedMax ? `; and ${differences.length - namedMax} more` : '';
  throw new FerryError(
    'SCORING_FAILED',
    `Cannot accept what the service "${record.name}" answers to the sample: ${differences.slice(0, namedMax).join('; ')}${more}`,
  );
}

/** Says where two JSON values differ; numbers may a little. */
function differencesOf(expected: unknown, answer: unknown, path: string): readonly string[] {
  if (typeof expected === 'number' && typeof answer === 'number') {
    const near = Math.abs(answer - expected) <= tolerance.absolute + tolerance.relative * Math.abs(expected);
    return near ? [] : [`${path} is ${answer}, ${expected} was wanted`];
  }
  if (typeof expected !== 'object' || expected === null || typeof answer !== 'object' || answer === null) {
    // An integer that JSON's readers would round is kept as a text of digits.
    const isSame =
      typeof expected === 'string' && typeof answer === 'number' ? Number(expected) === answer : expected === answer;
    if (isSame) return [];
    return [`${path || 'the answer'} is ${JSON.stringify(answer)}, ${JSON.stringify(expected)} was wanted`];
  }
  const [wanted, got] = [Object.entries(expected), new Map<string, unknown>(Object.entries(answer))];
  if (Array.isArray(expected) && wanted.length !== got.size) {
    return [`${path} has ${got.size} elements, ${wanted.length} were wanted`];
  }
  return wanted.flatMap(([key, value]) => differencesOf(value, got.get(key), path === '' ? key : `${path}[${key}]`));
}
