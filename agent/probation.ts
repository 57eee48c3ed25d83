import type { Proof } from './ask-proof.ts';
import type { AskRequests, RequestCounts } from './ask-requests.ts';
import type { ModuleSpec } from './module-spec.ts';
import type { ObservedModule } from './plan.ts';
import { restarts } from './restart-policy.ts';

/** How a desired state does since it was put in force. */
export type Verdict =
  /** Not all modules are good yet. */
  | { readonly kind: 'starting' }
  /** All modules are good, and are still being watched. */
  | { readonly kind: 'ready' }
  /** All modules have been good for long enough. */
  | { readonly kind: 'proven' }
  | { readonly kind: 'failed'; readonly module: string; readonly reason: string };

/** Asks a module for proof that it is good. @param observed its container */
export type AskProof = (
  spec: Pick<ModuleSpec, 'name' | 'createOptions'>,
  observed: Pick<ObservedModule, 'imageDigest'>,
  signal?: AbortSignal,
) => Promise<Proof>;

/** The settings of {@link Probation}. */
export interface ProbationOptions {
  readonly askProof: AskProof;
  readonly askRequests: AskRequests;
  /** Gives the share of requests that the module before has failed, from 0 to 1. @default 0 */
  readonly failedBefore?: (module: string) => number;
}

/** How long a module may take from the first look at it until it is good, in milliseconds. */
export const readyTimeoutMs = 60_000;
/** How long modules are watched after all were good, in milliseconds. */
const watchMs = 60_000;
/** How often a module may end by itself meanwhile: the second time it is no accident. */
const endsMax = 1;
/** From how many requests on a share of them says something. */
const requestsMin = 20;
/** By how much the share of failed requests may be above that of the module before: from 0 to 1. */
const failedShareMore = 0.1;

/** Watches a desired state from when it is put in force until it has proven good or bad. Times are monotonic. */
export class Probation {
  readonly #options: ProbationOptions;
  readonly #ready = new Set<string>();
  readonly #firstSeenMs = new Map<string, number>();
  readonly #counted = new Map<string, RequestCounts>();
  #readySinceMs: number | undefined;

  constructor(options: ProbationOptions) {
    this.#options = options;
  }

  /** Takes a look. @param observed the modules as they are; one that is not there yet has all the time that staging takes */
  async look(
    specs: readonly ModuleSpec[],
    observed: ReadonlyMap<string, ObservedModule>,
    nowMs: number,
  ): Promise<Verdict> {
    const wanted = specs.filter(({ status }) => status === 'running');
    // All at once: one that is slow to answer keeps the others from nothing.
    const reasons = await Promise.all(wanted.map((spec) => this.#failure(spec, observed.get(spec.name), nowMs)));
    const at = reasons.findIndex((reason) => reason !== undefined);
    if (at >= 0) return { kind: 'failed', module: wanted[at]?.name ?? '', reason: reasons[at] ?? '' };
    if (!wanted.every(({ name }) => this.#ready.has(name))) return { kind: 'starting' };
    this.#readySinceMs ??= nowMs;
    return { kind: nowMs - this.#readySinceMs >= watchMs ? 'proven' : 'ready' };
  }

  /** Says why a module is bad; nothing when it is not, or not yet. */
  async #failure(spec: ModuleSpec, module: ObservedModule | undefined, nowMs: number): Promise<string | undefined> {
    // What is there but not yet what it is to be waits for its image.
    if (module === undefined || module.fingerprint !== spec.fingerprint || module.status === 'created')
      return undefined;
    const ended = endsTooOften(spec, module);
    if (ended !== undefined) return ended;
    return this.#ready.has(spec.name) ? this.#failsRequests(spec) : this.#unready(spec, module, nowMs);
  }

  /** Notes whether a module is good; gives a reason when it is bad or has had its time. */
  async #unready(spec: ModuleSpec, module: ObservedModule, nowMs: number): Promise<string | undefined> {
    const { name } = spec;
    const since = this.#firstSeenMs.get(name) ?? nowMs;
    this.#firstSeenMs.set(name, since);
    const hasEnded = module.status !== 'running';
    // A job that has done its work and is not to be started again is as good as it will be.
    const isDone = hasEnded && !restarts(spec.restartPolicy, module.exitCode);
    const proof: Proof = hasEnded
      ? { kind: 'not yet', reason: `it does not run, and last ended with exit code ${module.exitCode}` }
      : await this.#options.askProof(spec, module);
    if (isDone || proof.kind === 'good' || proof.kind === 'silent') {
      this.#ready.add(name);
      return undefined;
    }
    if (proof.kind === 'wrong') return proof.reason;
    if (nowMs - since < readyTimeoutMs) return undefined;
    return `it was not ready after ${readyTimeoutMs / 1000} s: ${proof.reason}`;
  }

  /** Gives a reason when a module that was good fails many more requests than the one before it. */
  async #failsRequests(spec: ModuleSpec): Promise<string | undefined> {
    const { askRequests, failedBefore } = this.#options;
    const now = await askRequests(spec);
    if (now === undefined) return undefined;
    const then = this.#counted.get(spec.name);
    // First seen, or started anew and counting from nothing.
    if (then === undefined || now.answered < then.answered) {
      this.#counted.set(spec.name, now);
      return undefined;
    }
    const [answered, failed] = [now.answered - then.answered, now.failed - then.failed];
    const before = failedBefore?.(spec.name) ?? 0;
    if (answered < requestsMin || failed / answered <= before + failedShareMore) return undefined;
    return `it failed ${failed} of ${answered} requests, ${percent(failed / answered)} where it was ${percent(before)} before`;
  }
}

function endsTooOften(spec: ModuleSpec, module: ObservedModule): string | undefined {
  const ends = module.restartCount + (module.downForMs === undefined ? 0 : 1);
  if (ends <= endsMax || !restarts(spec.restartPolicy, module.exitCode)) return undefined;
  return `it ended by itself ${ends} times, last with exit code ${module.exitCode}`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
