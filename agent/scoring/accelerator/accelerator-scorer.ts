import { FerryError, isFerryError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import type { ServiceModel } from '../../../shared/model/service-config.ts';
import type { Collector } from '../../collect/collector.ts';
import { collectScored, readCall } from '../scored-request.ts';
import type { ScoreCall } from '../protocol/score-call.ts';
import type { Scored, Scorer } from '../scorer.ts';
import type { AcceleratorReport } from './accelerator-report.ts';
import type { AcceleratorSettings } from './accelerator-settings.ts';
import { AcceleratorWatch } from './accelerator-watch.ts';
import { RequestTurns } from './request-turns.ts';
import { RuntimeClient } from './runtime-client.ts';

/** The settings of an {@link AcceleratorScorer}. */
export interface AcceleratorScorerOptions {
  readonly settings: AcceleratorSettings;
  /** Requests that may wait; one more is refused. */
  readonly waitingMax: number;
  /** Takes inputs and predictions of every scored request. @default nothing is collected */
  readonly collector: Collector | undefined;
  readonly log: Logger;
}

/** Header of every answer that an accelerator computed: what it is. */
const acceleratorHeader = 'x-modelferry-accelerator';

/** Scores on an accelerator: reads and writes here, and has its runtime run the model, which is never loaded here. */
export class AcceleratorScorer implements Scorer {
  readonly model: ServiceModel;
  readonly #client: RuntimeClient;
  readonly #turns: RequestTurns;
  readonly #watch: AcceleratorWatch;
  readonly #collector: Collector | undefined;

  private constructor(
    model: ServiceModel,
    parts: {
      readonly client: RuntimeClient;
      readonly watch: AcceleratorWatch;
      readonly options: AcceleratorScorerOptions;
    },
  ) {
    const { settings, waitingMax, collector } = parts.options;
    this.model = model;
    this.#client = parts.client;
    this.#watch = parts.watch;
    this.#collector = collector;
    this.#turns = new RequestTurns({ concurrency: settings.concurrency, waitingMax });
  }

  /** Begins; a runtime that is away yet makes it not ready, no more. */
  static async start(model: ServiceModel, options: AcceleratorScorerOptions): Promise<AcceleratorScorer> {
    const { settings, log } = options;
    const client = new RuntimeClient(settings.url, settings.model ?? model.name, model);
    const watch = await AcceleratorWatch.start({ client, model, settings, log });
    return new AcceleratorScorer(model, { client, watch, options });
  }

  get waiting(): number {
    return this.#turns.waiting;
  }

  get accelerator(): AcceleratorReport {
    return this.#watch.report;
  }

  async score(call: ScoreCall): Promise<Scored> {
    const startMs = performance.now();
    const request = readCall(call, this.model);
    const parsedMs = performance.now();
    const { result: outputs, queueMs } = await this.#turns.run(call.wanted, () => this.#run(request.feeds, call));
    const ranMs = performance.now();
    const answer = request.answer(outputs);
    const correlationId = collectScored(this.#collector, { model: this.model, call, inputs: request.feeds, outputs });
    const runMs = ranMs - parsedMs - queueMs;
    const times = { parseMs: parsedMs - startMs, queueMs, runMs, writeMs: performance.now() - ranMs };
    const headers = [...(answer.headers ?? []), acceleratorHeader, this.#label()];
    return { answer: { ...answer, headers }, times, batchRequests: 1, correlationId };
  }

  close(): void {
    this.#watch[Symbol.dispose]();
  }

  async #run(
    ...[feeds, { wanted }]: [Parameters<RuntimeClient['infer']>[0], ScoreCall]
  ): ReturnType<RuntimeClient['infer']> {
    const { ready, reason = '', placement } = this.#watch.report;
    // It answers, but not as it was declared to: on the processor this would be slow, or not the model.
    if (!ready && placement !== undefined) {
      throw new FerryError('ACCELERATOR_UNAVAILABLE', `Cannot score now: the accelerator is not ready, ${reason}`);
    }
    try {
      return await this.#client.infer(feeds, wanted);
    } catch (error) {
      if (isFerryError(error, 'ACCELERATOR_UNAVAILABLE')) void this.#watch.ask();
      throw error;
    }
  }

  #label(): string {
    const { accelerator, simulated = false } = this.#watch.report.placement ?? {};
    if (simulated) return 'simulated';
    // A header's value is ASCII without controls.
    return accelerator?.replaceAll(/[^\x20-\x7e]/g, '?') ?? 'unnamed';
  }
}
