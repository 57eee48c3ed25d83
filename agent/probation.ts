import type { ModuleSpec } from './module-spec.ts';
import type { ObservedModule } from './plan.ts';
import { restarts } from './restart-policy.ts';

/** How a desired state does since it was put in force. */
export type Verdict =
  /** Not all modules are ready yet. */
  | { readonly kind: 'starting' }
  /** All modules are ready, and are still being watched. */
  | { readonly kind: 'ready' }
  /** All modules have been ready for long enough. */
  | { readonly kind: 'proven' }
  | { readonly kind: 'failed'; readonly module: string; readonly reason: string };

/** Says whether a module answers that it is ready; nothing for a module that has no way to say so. */
export type AskReady = (spec: ModuleSpec) => Promise<boolean | undefined>;

/** How long a module may take from the first look at it until it is ready, in milliseconds. */
const readyTimeoutMs = 60_000;
/** How long modules are watched after all were ready, in milliseconds. */
const watchMs = 60_000;
/** How often a module may end by itself meanwhile: the second time it is no accident. */
const endsMax = 1;

/** Watches a desired state from when it is put in force until it has proven good or bad. Times are monotonic. */
export class Probation {
  readonly #askReady: AskReady;
  readonly #ready = new Set<string>();
  readonly #firstSeenMs = new Map<string, number>();
  #readySinceMs: number | undefined;

  constructor(askReady: AskReady) {
    this.#askReady = askReady;
  }

  /** Takes a look. @param observed the modules as they are; one that is not there yet has all the time that staging takes */
  async look(
    specs: readonly ModuleSpec[],
    observed: ReadonlyMap<string, ObservedModule>,
    nowMs: number,
  ): Promise<Verdict> {
    let all = true;
    for (const spec of specs) {
      const module = observed.get(spec.name);
      if (spec.status === 'stopped') continue;
      // What is there but not yet what it is to be waits for its image.
      if (module === undefined || module.fingerprint !== spec.fingerprint || module.status === 'created') {
        all = false;
        continue;
      }
      const reason = failureOf(spec, module) ?? (await this.#unready(spec, module, nowMs));
      if (reason !== undefined) return { kind: 'failed', module: spec.name, reason };
      all &&= this.#ready.has(spec.name);
    }
    if (!all) return { kind: 'starting' };
    this.#readySinceMs ??= nowMs;
    return { kind: nowMs - this.#readySinceMs >= watchMs ? 'proven' : 'ready' };
  }

  /** Notes whether a module is ready; gives a reason when it has had its time. */
  async #unready(spec: ModuleSpec, module: ObservedModule, nowMs: number): Promise<string | undefined> {
    const { name } = spec;
    if (this.#ready.has(name)) return undefined;
    const since = this.#firstSeenMs.get(name) ?? nowMs;
    this.#firstSeenMs.set(name, since);
    const hasEnded = module.status !== 'running';
    // A job that has done its work and is not to be started again is as ready as it will be.
    const isDone = hasEnded && !restarts(spec.restartPolicy, module.exitCode);
    if (isDone || (!hasEnded && ((await this.#askReady(spec)) ?? true))) {
      this.#ready.add(name);
      return undefined;
    }
    if (nowMs - since < readyTimeoutMs) return undefined;
    return `it was not ready after ${readyTimeoutMs / 1000} s`;
  }
}

function failureOf(spec: ModuleSpec, module: ObservedModule): string | undefined {
  const ends = module.restartCount + (module.downForMs === undefined ? 0 : 1);
  if (ends <= endsMax || !restarts(spec.restartPolicy, module.exitCode)) return undefined;
  return `it ended by itself ${ends} times, last with exit code ${module.exitCode}`;
}
