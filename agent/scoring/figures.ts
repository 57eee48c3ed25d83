import { AggregatorRegistry, Gauge, Registry } from 'prom-client';
import type { StreamLedger } from '../collect/ledger.ts';
import type { Metric } from './metrics.ts';

/** A figure of this moment. */
export interface Reading {
  readonly name: string;
  readonly help: string;
  readonly value: number;
}

/** What one thread that listens has counted, and what it holds now. */
export interface Figures {
  readonly metrics: readonly Metric[];
  readonly readings: readonly Reading[];
}

/** Writes the figures of all threads, summed, and the ledger of what was collected, in Prometheus' text format. */
export async function exposition(
  threads: readonly Figures[],
  streams: readonly StreamLedger[] = [],
): Promise<{ contentType: string; text: string }> {
  const summed = AggregatorRegistry.aggregate(threads.map(({ metrics }) => [...metrics]));
  const now = new Registry();
  const gauges = new Map<string, Gauge>();
  for (const { name, help, value } of threads.flatMap(({ readings }) => readings)) {
    const gauge = gauges.get(name) ?? new Gauge({ name, help, registers: [now] });
    gauges.set(name, gauge);
    gauge.inc(value);
  }
  if (streams.length > 0) addLedger(now, streams);
  return { contentType: now.contentType, text: `${await summed.metrics()}\n${await now.metrics()}` };
}

/** What became of the rows of each stream; rows that were dropped have a reason beside. */
function addLedger(registry: Registry, streams: readonly StreamLedger[]): void {
  const gauge = new Gauge({
    name: 'modelferry_rows',
    help: 'What became of the rows that were ever collected here.',
    labelNames: ['model', 'version', 'designation', 'state', 'reason'],
    registers: [registry],
  });
  for (const { model, version, designation, dropped, ...rows } of streams) {
    const labels = { model, version: String(version), designation };
    for (const state of ['collected', 'uploaded', 'buffered', 'quarantined'] as const) {
      gauge.set({ ...labels, state, reason: '' }, rows[state]);
    }
    for (const [reason, count] of Object.entries(dropped)) gauge.set({ ...labels, state: 'dropped', reason }, count);
  }
}
