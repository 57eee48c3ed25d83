import { AggregatorRegistry, Gauge, Registry } from 'prom-client';
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

/** Writes the figures of all threads, summed, in Prometheus' text format. */
export async function exposition(threads: readonly Figures[]): Promise<{ contentType: string; text: string }> {
  const summed = AggregatorRegistry.aggregate(threads.map(({ metrics }) => [...metrics]));
  const now = new Registry();
  const gauges = new Map<string, Gauge>();
  for (const { name, help, value } of threads.flatMap(({ readings }) => readings)) {
    const gauge = gauges.get(name) ?? new Gauge({ name, help, registers: [now] });
    gauges.set(name, gauge);
    gauge.inc(value);
  }
  return { contentType: now.contentType, text: `${await summed.metrics()}\n${await now.metrics()}` };
}
