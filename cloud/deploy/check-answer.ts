import { FerryError } from '../../shared/errors.ts';

/** How far a number may be from the one of the registration, and by which share of it: other processors round otherwise. */
const tolerance = { absolute: 1e-5, relative: 1e-4 };
/** Most differences that are named; the first say what is wrong. */
const namedMax = 5;

/**
 * Compares a service's answer with what the sample gave when the model was registered.
 * @throws {FerryError} SCORING_FAILED naming what differs
 */
export function checkAnswer(service: string, { expected, answer }: { expected: unknown; answer: unknown }): void {
  const differences = differencesOf(expected, answer, '');
  if (differences.length === 0) return;
  const more = differences.length > namedMax ? `; and ${differences.length - namedMax} more` : '';
  throw new FerryError(
    'SCORING_FAILED',
    `Cannot accept what the service "${service}" answers to the sample: ${differences.slice(0, namedMax).join('; ')}${more}`,
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
