import type { ServiceModel } from '../../shared/model/service-config.ts';
import type { Collector } from '../collect/collector.ts';
import { Batcher, type BatcherOptions } from './model/batcher.ts';
import type { OnnxModel } from './model/onnx-model.ts';
import type { ScoreCall } from './protocol/score-call.ts';
import { collectScored, readCall } from './scored-request.ts';
import type { Scored, Scorer } from './scorer.ts';

/** The settings of an {@link InlineScorer}. */
export interface InlineScorerOptions {
  readonly batching: BatcherOptions;
  /** Takes inputs and predictions of every scored request. @default nothing is collected */
  readonly collector?: Collector | undefined;
}

/** Scores on this thread: reads, runs, writes. */
export class InlineScorer implements Scorer {
  readonly model: ServiceModel;
  readonly #loaded: OnnxModel;
  readonly #batcher: Batcher;
  readonly #collector: Collector | undefined;

  constructor(model: OnnxModel, options: InlineScorerOptions) {
    this.model = model.model;
    this.#loaded = model;
    this.#batcher = new Batcher(model, options.batching);
    this.#collector = options.collector;
  }

  /** Whether requests share runs. */
  get sharesRuns(): boolean {
    return this.#batcher.sharesRuns;
  }

  get waiting(): number {
    return this.#batcher.waiting;
  }

  async score(call: ScoreCall): Promise<Scored> {
    const startMs = performance.now();
    const request = readCall(call, this.model);
    const parsedMs = performance.now();
    const { outputs, queueMs, runMs, requests } = await this.#batcher.run(request.feeds, call.wanted);
    const ranMs = performance.now();
    const answer = request.answer(outputs);
    const correlationId = collectScored(this.#collector, { model: this.model, call, inputs: request.feeds, outputs });
    const times = { parseMs: parsedMs - startMs, queueMs, runMs, writeMs: performance.now() - ranMs };
    return { answer, times, batchRequests: requests, correlationId };
  }

  close(): void {
    this.#loaded.release();
  }
}
