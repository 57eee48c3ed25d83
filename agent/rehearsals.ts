import type { Clock } from '../shared/clock.ts';
import type { Logger } from '../shared/log.ts';
import type { ObservedRehearsal } from './device-look.ts';
import { rehearsalPort } from './labels.ts';
import type { ModuleSpec } from './module-spec.ts';
import { proofKey } from './plan.ts';
import { type AskProof, readyTimeoutMs } from './probation.ts';
import { rehearsalSpec } from './rehearsal-spec.ts';

/** The settings of {@link Rehearsals}. */
export interface RehearsalsOptions {
  readonly askProof: AskProof;
  /** Is called when a rehearsal has come to something. */
  readonly onEnd: () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A rehearsal that came to nothing. */
export interface FailedRehearsal {
  readonly module: string;
  readonly reason: string;
}

/** How often a rehearsal may end by itself: the second time it is no accident. */
const endsMax = 1;
/** How often a module that rehearses is asked, in milliseconds. */
const askEveryMs = 200;

/** One run of one module's rehearsal. */
interface Following {
  readonly run: string;
  readonly controller: AbortController;
}

/**
 * Follows the containers in which modules rehearse, and remembers what has proven good. They are asked in the background, so that
 * nothing else waits for a module that is slow to answer.
 */
export class Rehearsals {
  readonly #options: RehearsalsOptions;
  readonly #proven = new Set<string>();
  readonly #ends = new Map<string, number>();
  #following: Following | undefined;
  /** The run whose end was noted last: one may end before it was ever seen to run. */
  #endedRun: string | undefined;
  #failed: FailedRehearsal | undefined;

  constructor(options: RehearsalsOptions) {
    this.#options = options;
  }

  /** Keys of what has proven good. */
  get proven(): ReadonlySet<string> {
    return this.#proven;
  }

  /** Forgets all: for a new desired state. */
  clear(): void {
    this.#stop();
    this.#proven.clear();
    this.#ends.clear();
    this.#failed = undefined;
  }

  /** Takes what has failed since it was last taken, if anything has. */
  takeFailed(): FailedRehearsal | undefined {
    const failed = this.#failed;
    this.#failed = undefined;
    if (failed !== undefined) this.#ends.clear();
    return failed;
  }

  /** Looks at the rehearsals there are; what is new among them is asked until it is good or has had its time. */
  look(specs: readonly ModuleSpec[], rehearsals: ReadonlyMap<string, ObservedRehearsal>): void {
    let isFollowed = false;
    for (const [module, observed] of rehearsals) {
      const spec = specs.find(({ name, fingerprint }) => name === module && fingerprint === observed.fingerprint);
      if (spec === undefined || this.#proven.has(proofKey(spec))) continue;
      const run = `${proofKey(spec)} ${observed.container.startedAt ?? ''}`;
      if (observed.status === 'running') {
        isFollowed = true;
        if (this.#following?.run !== run) this.#follow(run, spec, observed);
      } else if (observed.status !== 'created' && run !== this.#endedRun) {
        this.#endedRun = run;
        this.#noteEnd(spec, observed);
      }
    }
    if (!isFollowed) this.#stop();
  }

  #noteEnd(spec: ModuleSpec, { exitCode }: ObservedRehearsal): void {
    const ends = (this.#ends.get(proofKey(spec)) ?? 0) + 1;
    this.#ends.set(proofKey(spec), ends);
    if (ends <= endsMax) return;
    this.#failed = { module: spec.name, reason: `it ended by itself ${ends} times, last with exit code ${exitCode}` };
  }

  #follow(run: string, spec: ModuleSpec, observed: ObservedRehearsal): void {
    this.#stop();
    const controller = new AbortController();
    this.#following = { run, controller };
    const { signal } = controller;
    void this.#ask(spec, observed, signal).catch((error: unknown) => {
      if (!signal.aborted) this.#options.log.error({ module: spec.name, err: error }, 'could not follow a rehearsal');
    });
  }

  async #ask(spec: ModuleSpec, observed: ObservedRehearsal, signal: AbortSignal): Promise<void> {
    const { askProof, clock, log, onEnd } = this.#options;
    const rehearsing = { ...spec, ...rehearsalSpec(spec, rehearsalPort(observed.container.labels)) };
    const begunMs = clock.monotonicMs();
    for (;;) {
      const proof = await askProof(rehearsing, observed, signal);
      signal.throwIfAborted();
      const tookMs = Math.round(clock.monotonicMs() - begunMs);
      if (proof.kind === 'good' || proof.kind === 'silent') {
        log.info({ module: spec.name, tookMs, scored: proof.kind === 'good' && proof.scored }, 'rehearsed well');
        this.#proven.add(proofKey(spec));
        return onEnd();
      }
      if (proof.kind === 'wrong' || tookMs >= readyTimeoutMs) {
        const late = proof.kind === 'wrong' ? '' : `it was not good after ${readyTimeoutMs / 1000} s: `;
        this.#failed = { module: spec.name, reason: `${late}${proof.reason}` };
        return onEnd();
      }
      await clock.sleep(askEveryMs, signal);
    }
  }

  #stop(): void {
    this.#following?.controller.abort(new Error('no longer followed'));
    this.#following = undefined;
  }
}
