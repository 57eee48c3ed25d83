import { messageOf } from '../shared/errors.ts';
import { type Step, stepKey } from './plan.ts';
import { backoffMs } from './restart-policy.ts';

/** How often a module may fail to be made or started, before it is no accident of the engine. */
const hopelessCount = 2;

/** One step that failed. */
interface Failure {
  readonly step: Step;
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
    this.#failures.set(stepKey(step), { step, message: messageOf(error), count, atMs: nowMs });
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

  /** Gives a module that could not be made or started again and again, and why; nothing when there is none. */
  hopeless(): { readonly module: string; readonly reason: string } | undefined {
    for (const { step, count, message } of this.#failures.values()) {
      const isMaking = step.kind === 'create' || step.kind === 'start';
      if (isMaking && count >= hopelessCount) return { module: step.module, reason: message };
    }
    return undefined;
  }

  /** Gives the messages of all that failed and has not gone well since. */
  messages(): string[] {
    return [...this.#failures.values()].map(({ message }) => message);
  }
}
