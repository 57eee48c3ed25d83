import { FerryError } from '../../shared/errors.ts';
import { answerDifference } from '../../shared/model/answer-difference.ts';

/**
 * Compares a service's answer with what the sample gave when the model was registered.
 * @throws {FerryError} SCORING_FAILED naming what differs
 */
export function checkAnswer(service: string, { expected, answer }: { expected: unknown; answer: unknown }): void {
  const difference = answerDifference(expected, answer);
  if (difference === undefined) return;
  throw new FerryError(
    'SCORING_FAILED',
    `Cannot accept what the service "${service}" answers to the sample: ${difference}`,
  );
}
