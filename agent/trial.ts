import type { Clock } from '../shared/clock.ts';
import type { ContainerEngine } from '../shared/containers/engine.ts';
import { withDeadline } from '../shared/deadline.ts';
import { messageOf } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';
import { type AskRequests, failedShare } from './ask-requests.ts';
import type { DesiredState } from './desired-state.ts';
import type { Generations } from './generations.ts';
import type { ObservedModule } from './plan.ts';
import { type AskProof, Probation } from './probation.ts';
import { rehearsalName } from './rehearsal-spec.ts';
import type { FailedRehearsal } from './rehearsals.ts';
import { withoutSecrets } from './without-secrets.ts';

/** The settings of a {@link Trial}. */
export interface TrialOptions {
  readonly engine: ContainerEngine;
  readonly generations: Generations;
  readonly askProof: AskProof;
  readonly askRequests: AskRequests;
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
/** How long the engine may take to give them, in milliseconds. */
const evidenceTimeoutMs = 5_000;

/** The trial of the desired state in force: it is watched until it has held, or gives way to the one before it. */
export class Trial {
  readonly #options: TrialOptions;
  #probation: Probation | undefined;
  /** Shares of requests that modules have failed before they were replaced. */
  #failedBefore = new Map<string, number>();
  /** Until when it is looked more often. */
  #startingUntilMs = 0;

  constructor(options: TrialOptions) {
    this.#options = options;
  }

  /** Begins anew, for a desired state that was put in force. @param isOnProbation whether it has still to show that it is good */
  begin({ isOnProbation }: { readonly isOnProbation: boolean }): void {
    const { askProof, askRequests } = this.#options;
    const failedBefore = new Map<string, number>();
    this.#failedBefore = failedBefore;
    const options = { askProof, askRequests, failedBefore: (module: string) => failedBefore.get(module) ?? 0 };
    this.#probation = isOnProbation ? new Probation(options) : undefined;
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
    const probation = this.#probation;
    // The trial is that of a newer one, which modules of this one prove nothing for.
    if (generations.current !== desired) return { kind: 'superseded' };
    if (probation !== undefined) await this.#countBefore(observed);
    const verdict = await probation?.look(desired.modules, observed, clock.monotonicMs());
    if (generations.current !== desired) return { kind: 'superseded' };
    if (verdict?.kind === 'starting') return { kind: 'starting' };
    this.#startingUntilMs = 0;
    if (verdict?.kind === 'failed') return this.fail(desired, verdict);
    if (verdict?.kind === 'proven') {
      this.#probation = undefined;
      await generations.commit();
    }
    return { kind: 'holding' };
  }

  /** Brings the desired state before back because a module is bad, and says why; without one there is only something to say. */
  async fail(
    desired: DesiredState,
    { module, reason, isRehearsal = false }: FailedRehearsal & { readonly isRehearsal?: boolean },
  ): Promise<TrialOutcome> {
    const { generations, log } = this.#options;
    const what = isRehearsal ? 'does not rehearse well' : 'does not run well';
    const evidence = await this.#lastLines(desired, module, { isRehearsal });
    if (generations.current !== desired) return { kind: 'superseded' };
    if (!generations.hasFallback)
      return { kind: 'failing', reason: `The module "${module}" ${what}: ${reason}${evidence}` };
    const kept = isRehearsal ? '; what ran was not stopped' : '';
    const whole = `Taken back, the deployment before is in force: the module "${module}" ${what}, ${reason}${kept}${evidence}`;
    log.error({ version: desired.version, module }, whole);
    await generations.goBack(whole).catch((error: unknown) => {
      log.error({ why: messageOf(error) }, 'could not write down that the deployment was taken back');
    });
    return { kind: 'taken back', reason: whole };
  }

  /** Counts, as long as they run, how the modules do that are to be replaced. */
  async #countBefore(observed: ReadonlyMap<string, ObservedModule>): Promise<void> {
    const { generations, askRequests } = this.#options;
    const before = this.#failedBefore;
    const running = (generations.fallback?.modules ?? []).filter(({ name, fingerprint }) => {
      const module = observed.get(name);
      return !before.has(name) && module?.status === 'running' && module.fingerprint === fingerprint;
    });
    await Promise.all(
      running.map(async (spec) => {
        const counts = await askRequests(spec);
        before.set(spec.name, counts === undefined ? 0 : failedShare(counts));
      }),
    );
  }

  /** Gives the last lines of a module's output, to go along as evidence. */
  async #lastLines(
    desired: DesiredState,
    module: string,
    { isRehearsal }: { readonly isRehearsal: boolean },
  ): Promise<string> {
    const spec = desired.modules.find(({ name }) => name === module);
    const container = isRehearsal ? rehearsalName(module) : module;
    const reading = withDeadline({ doing: 'read its output', timeoutMs: evidenceTimeoutMs }, (signal) =>
      this.#options.engine.logs(container, { tail: evidenceLines }, signal),
    );
    const output = withoutSecrets(
      (await reading.catch(() => '')).trim(),
      spec ?? { environment: {}, createOptions: {} },
    );
    return output === '' ? '' : `; it last said: ${output}`;
  }
}
