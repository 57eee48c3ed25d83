import type { ServiceModel } from '../../shared/model/service-config.ts';
import type { Collector } from '../collect/collector.ts';
import type { Tensor } from '../collect/tensor.ts';
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

  score(call: ScoreCall): Promise<Scored> {
    // One promise a request: where runs are shared, what waits for promises would take as long as the run.
    return new Promise((resolve, reject) => {
      const startMs = performance.now();
      const request = readCall(call, this.model);
      const sinceMs = performance.now();
      this.#batcher.run({
        feeds: request.feeds,
        wanted: call.wanted,
        sinceMs,
        onRun: ({ outputs, startMs: ranFromMs, endMs, requests }) => {
          const fromMs = performance.now();
          const answer = request.answer(outputs);
          const correlationId = this.#collect(call, request.feeds, outputs);
          const times = {
            parseMs: sinceMs - startMs,
            queueMs: ranFromMs - sinceMs,
            runMs: endMs - ranFromMs,
            writeMs: performance.now() - fromMs,
          };
          resolve({ answer, times, batchRequests: requests, correlationId });
        },
        onFailure: reject,
      });
    });
  }

  #collect(call: ScoreCall, inputs: readonly Tensor[], outputs: readonly Tensor[]): string | undefined {
    return collectScored(this.#collector, { model: this.model, call, inputs, outputs });
  }

  close(): void {
    this.#loaded.release();
  }
}
