import { isFerryError, messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { Failures } from '../failures.ts';
import type { Step } from '../plan.ts';
import { RestartRequests } from '../restart-requests.ts';
import { type ApplyContext, execute, type OrderedStep } from './executors.ts';

/** The settings of a {@link StepRunner}. */
export interface StepRunnerOptions extends Omit<ApplyContext, 'specs' | 'staged'> {
  /** Is told of every step that was carried out, and how long it took. */
  readonly onStep: (step: OrderedStep, elapsedMs: number) => void;
  readonly log: Logger;
}

/** For what steps are carried out. */
export interface StepsContext extends Pick<ApplyContext, 'specs' | 'staged'> {
  /** Begins to stage an image, in the background. */
  readonly stage: (image: string) => void;
  /** Whether this is still what is to be done. */
  readonly isWanted: () => boolean;
  readonly signal: AbortSignal;
}

/** Carries out steps one at a time, and remembers what failed and who waits for a restart. */
export class StepRunner {
  readonly failures = new Failures();
  readonly restarts = new RestartRequests();
  readonly #options: StepRunnerOptions;

  constructor(options: StepRunnerOptions) {
    this.#options = options;
  }

  /**
   * Carries out steps as long as they are wanted, and says whether they were to the end. After one that fails the rest of what was to be
   * done with its module is left.
   */
  async run(steps: readonly Step[], context: StepsContext): Promise<boolean> {
    const left = new Set<string>();
    for (const step of steps) {
      if (!context.isWanted() || context.signal.aborted) return false;
      if (step.kind === 'stage') context.stage(step.image);
      else if (!left.has(step.module) && !(await this.#try(step, context))) left.add(step.module);
    }
    return true;
  }

  /** Notes that something failed, so that it is left alone for a while. */
  noteFailure(step: Step, error: unknown): void {
    const retryInMs = this.failures.add(step, error, this.#options.clock.monotonicMs());
    const code = isFerryError(error) ? error.code : undefined;
    this.#options.log.error({ ...step, code, retryInMs }, messageOf(error));
  }

  /** Carries out a step and says whether it went well. */
  async #try(step: OrderedStep, { specs, staged, signal }: StepsContext): Promise<boolean> {
    const { log, clock, onStep } = this.#options;
    const begunMs = clock.monotonicMs();
    try {
      await execute(step, { ...this.#options, specs, staged }, signal);
    } catch (error) {
      if (!signal.aborted) this.noteFailure(step, error);
      if (step.kind === 'stop' || step.kind === 'start') this.restarts.answer(step.module, error);
      return false;
    }
    onStep(step, clock.monotonicMs() - begunMs);
    log.info({ ...step }, `module ${step.kind} done`);
    this.failures.clear(step);
    if (step.kind === 'start') this.restarts.answer(step.module);
    return true;
  }
}
