import type { Clock } from '../shared/clock.ts';
import type { ScoringFigures } from '../shared/edge/reported-scoring.ts';
import { askModule } from './ask-module.ts';
import { requestCountsIn } from './ask-requests.ts';
import type { ModuleSpec } from './module-spec.ts';

/** How often modules are asked, in milliseconds. */
const everyMs = 60_000;
/** How long a module may take to give its metrics, in milliseconds, and most bytes of them. */
const timeoutMs = 2_000;
const bytesMax = 4 * 1024 * 1024;
/** Requests within which the p95 lies. */
const p95Share = 0.95;

/** What is asked of a module. */
type AskedModule = Pick<ModuleSpec, 'name' | 'createOptions'>;

/** The settings of {@link watchScoring}. */
export interface WatchScoringOptions {
  /** Gives the modules that run. */
  readonly modules: () => readonly AskedModule[];
  /** Is told the figures of all modules that have some, when they are other ones than before. */
  readonly onFigures: (figures: Readonly<Record<string, ScoringFigures>>) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Asks all modules every minute what their scoring servers have done, until the signal is aborted. */
export async function watchScoring({ modules, onFigures, clock, signal }: WatchScoringOptions): Promise<void> {
  let told = '{}';
  while (!signal.aborted) {
    await clock.sleep(everyMs, signal).catch(() => undefined);
    if (signal.aborted) return;
    const figures: Record<string, ScoringFigures> = {};
    for (const module of modules()) {
      const found = await askFigures(module, signal);
      if (found !== undefined) figures[module.name] = found;
    }
    const text = JSON.stringify(figures);
    if (text === told) continue;
    told = text;
    onFigures(figures);
  }
}

/** Asks one module; gives nothing for one that does not say, which is no failure: it need not be a scoring server. */
async function askFigures(module: AskedModule, signal: AbortSignal): Promise<ScoringFigures | undefined> {
  const question = { path: '/metrics', timeoutMs, bytesMax, signal };
  const answer = await askModule(module, question).catch(() => undefined);
  return answer?.status === 200 ? figuresIn(answer.body) : undefined;
}

/**
 * Reads the figures off a scoring server's metrics, coarsely: a device reports them again when they have changed by much, not with every request.
 * @returns undefined where it has none
 */
export function figuresIn(metrics: string): ScoringFigures | undefined {
  if (!/^modelferry_requests_total\{/m.test(metrics)) return undefined;
  const { answered, failed } = requestCountsIn(metrics);
  const p95Ms = p95Of(metrics);
  return { requests: coarse(answered), errors: coarse(failed), ...(p95Ms === undefined ? {} : { p95Ms }) };
}

/** The least bound of the histogram, over all models, that 95 of 100 requests are within, in milliseconds; those beyond the last bound count as twice that. */
function p95Of(metrics: string): number | undefined {
  const within = new Map<number, number>();
  for (const [, bound, count] of metrics.matchAll(
    /^modelferry_request_seconds_bucket\{[^}]*le="([^"]+)"[^}]*\} (\d+)/gm,
  )) {
    const bucket = bound === '+Inf' ? Infinity : Number(bound);
    within.set(bucket, (within.get(bucket) ?? 0) + Number(count));
  }
  const all = within.get(Infinity) ?? 0;
  if (all === 0) return undefined;
  const bounds = [...within.keys()].filter(Number.isFinite).toSorted((a, b) => a - b);
  const bound = bounds.find((bound) => (within.get(bound) ?? 0) >= all * p95Share) ?? (bounds.at(-1) ?? 0) * 2;
  return Math.round(bound * 1_000_000) / 1000;
}

/** Keeps the first digit alone of a number above ten, so that it changes nine times from ten to a hundred. */
function coarse(count: number): number {
  const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(count, 1))));
  return Math.floor(count / step) * step;
}
