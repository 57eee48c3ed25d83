import type { LogRecordExporter } from '@opentelemetry/sdk-logs';
import type { SpanExporter } from '@opentelemetry/sdk-trace-base';
import type { TelemetrySettings } from './telemetry-settings.ts';

/** One place that traces and logs go to. */
export interface Exporters {
  readonly spans: SpanExporter;
  readonly logs: LogRecordExporter;
}

/** How long one request to a collector may take. */
export const exportTimeoutMs = 10_000;

/**
 * Makes what sends to each place. Each vendor's package is loaded only where it is used.
 * @throws {FerryError} USAGE when the connection string is none
 */
export async function makeExporters({ connectionString, otlp }: TelemetrySettings): Promise<Exporters[]> {
  const exporters: Exporters[] = [];
  // Modules of ours, and not the packages: what a bundler loads late of CommonJS has no names.
  if (otlp !== undefined) exporters.push((await import('./otlp-exporters.ts')).otlpExporters(otlp));
  if (connectionString !== undefined) {
    const { azureExporters } = await import('./azure-exporters.ts');
    exporters.push(azureExporters(connectionString));
  }
  return exporters;
}
