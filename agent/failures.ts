import { messageOf } from '../shared/errors.ts';
import { type Step, stepKey } from './plan.ts';
import { backoffMs } from './restart-policy.ts';

/** One step that failed. */
interface Failure {
  readonly message: string;
  readonly count: number;
  readonly atMs: number;
}

/** What failed of the desired state, and until when it is left alone. Times are monotonic. */
export class Failures {
  readonly #failures = new Map<string, Failure>();

  /** Notes that a step failed, and gives how long it is to be left alone, in milliseconds. */
  add(step: Step, error: unknown, nowMs: number): number {
    const count = (this.#failures.get(stepKey(step))?.count ?? 0) + 1;
    this.#failures.set(stepKey(step), { message: messageOf(error), count, atMs: nowMs });
    return backoffMs(count - 1);
  }

  /** Notes that a step went well. */
  clear(step: Step): void {
    this.#failures.delete(stepKey(step));
  }

  /** Forgets all, so that everything is tried at once: for a new desired state. */
  clearAll(): void {
    this.#failures.clear();
  }

  /** Gives the keys of the steps that are not to be tried yet. */
  coolingOff(nowMs: number): Set<string> {
    const cooling = [...this.#failures].filter(([, { count, atMs }]) => nowMs - atMs < backoffMs(count - 1));
    return new Set(cooling.map(([key]) => key));
  }

  /** Gives the messages of all that failed and has not gone well since. */
  messages(): string[] {
    return [...this.#failures.values()].map(({ message }) => message);
  }
}
