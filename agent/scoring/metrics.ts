import type { Scored } from './scorer.ts';

/** Upper bounds in seconds: from what a perceptron takes to what a large model takes. */
const secondsBounds = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/** Upper bounds of the requests that share a run. */
const batchBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/** Where the time of a request goes. */
const stages = ['parse', 'queue', 'run', 'write'] as const;

/** Counts observations by size; an observation costs a few nanoseconds, where prom-client's own takes a microsecond. */
class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let at = 0;
    while (at < bounds.length && value > (bounds[at] ?? 0)) at += 1;
    if (at < bounds.length) this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#sum += value;
    this.#count += 1;
  }

  /** Gives the values as prom-client has them: cumulative, by upper bound. */
  values(name: string, labels: Record<string, string>): MetricValue[] {
    let below = 0;
    const buckets = this.#bounds.map((bound, index) => {
      below += this.#counts[index] ?? 0;
      return { metricName: `${name}_bucket`, labels: { ...labels, le: bound }, value: below };
    });
    return [
      ...buckets,
      { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: this.#count },
      { metricName: `${name}_sum`, labels, value: this.#sum },
      { metricName: `${name}_count`, labels, value: this.#count },
    ];
  }
}

interface MetricValue {
  readonly metricName?: string;
  readonly labels: Record<string, string | number>;
  readonly value: number;
}

/** Figures of one name, in the form that prom-client aggregates. */
export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'histogram';
  readonly aggregator: 'sum';
  readonly values: readonly MetricValue[];
}

/** Figures of one model on one thread. */
class ModelMetrics {
  readonly requests = new Map<number, number>();
  readonly total = new Histogram(secondsBounds);
  readonly batch = new Histogram(batchBounds);
  readonly stages = {
    parse: new Histogram(secondsBounds),
    queue: new Histogram(secondsBounds),
    run: new Histogram(secondsBounds),
    write: new Histogram(secondsBounds),
  };
}

/** What one thread counts; `exposition()` puts threads together. */
export class ScoringMetrics {
  readonly #models = new Map<string, ModelMetrics>();

  /** Counts an answered request. */
  request(
    model: string,
    answered: { readonly status: number; readonly totalMs: number; readonly scored: Scored | undefined },
  ): void {
    const { status, totalMs, scored } = answered;
    let metrics = this.#models.get(model);
    if (metrics === undefined) {
      metrics = new ModelMetrics();
      this.#models.set(model, metrics);
    }
    metrics.requests.set(status, (metrics.requests.get(status) ?? 0) + 1);
    metrics.total.observe(totalMs / 1000);
    if (scored === undefined) return;
    const { parseMs, queueMs, runMs, writeMs } = scored.times;
    metrics.stages.parse.observe(parseMs / 1000);
    metrics.stages.queue.observe(queueMs / 1000);
    metrics.stages.run.observe(runMs / 1000);
    metrics.stages.write.observe(writeMs / 1000);
    metrics.batch.observe(scored.batchRequests);
  }

  /** Gives the figures in the form that prom-client aggregates. */
  snapshot(): readonly Metric[] {
    const models = [...this.#models];
    const requests = models.flatMap(([model, { requests }]) =>
      [...requests].map(([status, value]) => ({ labels: { model, code: String(status) }, value })),
    );
    const histogram = (name: string, help: string, values: MetricValue[]): Metric => ({
      name,
      help,
      type: 'histogram',
      aggregator: 'sum',
      values,
    });
    return [
      {
        name: 'modelferry_requests_total',
        help: 'Requests to score that were answered, by status code.',
        type: 'counter',
        aggregator: 'sum',
        values: requests,
      },
      histogram(
        'modelferry_request_seconds',
        'Time from the request to its answer.',
        models.flatMap(([model, { total }]) => total.values('modelferry_request_seconds', { model })),
      ),
      histogram(
        'modelferry_stage_seconds',
        'Time that requests spent in each stage.',
        models.flatMap(([model, metrics]) =>
          stages.flatMap((stage) => metrics.stages[stage].values('modelferry_stage_seconds', { model, stage })),
        ),
      ),
      histogram(
        'modelferry_batch_requests',
        'Requests that shared a run of the model.',
        models.flatMap(([model, { batch }]) => batch.values('modelferry_batch_requests', { model })),
      ),
    ];
  }
}
