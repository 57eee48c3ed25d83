import type { Clock } from '../shared/clock.ts';
import type { ContainerEngine } from '../shared/containers/engine.ts';
import type { Logger } from '../shared/log.ts';
import type { DesiredState } from './desired-state.ts';
import type { Generations } from './generations.ts';
import type { ObservedModule } from './plan.ts';
import { type AskReady, Probation } from './probation.ts';

/** The settings of a {@link Trial}. */
export interface TrialOptions {
  readonly engine: ContainerEngine;
  readonly generations: Generations;
  readonly askReady: AskReady;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What is to be said of the desired state in force. */
export type TrialOutcome =
  /** A newer one came meanwhile: what was seen says nothing about that. */
  | { readonly kind: 'superseded' }
  | { readonly kind: 'starting' }
  | { readonly kind: 'holding' }
  /** It does not run well, and there is nothing to go back to. */
  | { readonly kind: 'failing'; readonly reason: string }
  /** It did not run well: the one before is in force again. */
  | { readonly kind: 'taken back'; readonly reason: string };

/** How often it is looked how modules are, in milliseconds (IoT Edge's reconcile interval). */
const lookEveryMs = 5_000;
/** The same while modules are being started. */
const lookAtStartEveryMs = 250;
/** The same while a new desired state is on probation. */
const lookOnProbationEveryMs = 1_000;
/** For how long modules count as being started at most, in milliseconds. */
const startingMs = 60_000;
/** Lines of a module's output that go along as evidence when it takes the deployment back. */
const evidenceLines = 3;

/** The trial of the desired state in force: it is watched until it has held, or gives way to the one before it. */
export class Trial {
  readonly #options: TrialOptions;
  #probation: Probation | undefined;
  /** Until when it is looked more often. */
  #startingUntilMs = 0;

  constructor(options: TrialOptions) {
    this.#options = options;
  }

  /** Begins anew, for a desired state that was put in force. @param isOnProbation whether it has still to show that it is good */
  begin({ isOnProbation }: { readonly isOnProbation: boolean }): void {
    this.#probation = isOnProbation ? new Probation(this.#options.askReady) : undefined;
    this.#startingUntilMs = this.#options.clock.monotonicMs() + startingMs;
  }

  /** How long to wait until the next look if nothing happens, in milliseconds. */
  nextLookMs({ isStaging }: { readonly isStaging: boolean }): number {
    const isStarting = this.#options.clock.monotonicMs() < this.#startingUntilMs;
    if (isStarting && !isStaging) return lookAtStartEveryMs;
    return this.#probation === undefined ? lookEveryMs : lookOnProbationEveryMs;
  }

  /** Takes a look at the modules of the desired state in force, and acts on what that says of it. */
  async look(desired: DesiredState, observed: ReadonlyMap<string, ObservedModule>): Promise<TrialOutcome> {
    const { generations, clock } = this.#options;
    const verdict = await this.#probation?.look(desired.modules, observed, clock.monotonicMs());
    if (generations.current !== desired) return { kind: 'superseded' };
    if (verdict?.kind === 'starting') return { kind: 'starting' };
    this.#startingUntilMs = 0;
    if (verdict?.kind === 'failed') {
      if (generations.hasFallback) return this.#goBack(desired, verdict);
      return { kind: 'failing', reason: `The module "${verdict.module}" does not run well: ${verdict.reason}` };
    }
    if (verdict?.kind === 'proven') {
      this.#probation = undefined;
      await generations.commit();
    }
    return { kind: 'holding' };
  }

  /** Brings the desired state before back, and says why. */
  async #goBack(desired: DesiredState, failed: { module: string; reason: string }): Promise<TrialOutcome> {
    const { engine, generations, log } = this.#options;
    const { module } = failed;
    const output = await engine.logs(module, { tail: evidenceLines }).catch(() => '');
    const evidence = output.trim() === '' ? '' : `; it last said: ${output.trim()}`;
    const reason = `Taken back, the deployment before is in force: the module "${module}" does not run well, ${failed.reason}${evidence}`;
    log.error({ version: desired.version, module }, reason);
    await generations.goBack(reason);
    return { kind: 'taken back', reason };
  }
}
