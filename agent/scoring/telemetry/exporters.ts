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
 * @throws when the connection string is none
 */
export async function makeExporters({ connectionString, otlp }: TelemetrySettings): Promise<Exporters[]> {
  const exporters: Exporters[] = [];
  if (otlp !== undefined) exporters.push(await otlpExporters(otlp));
  if (connectionString !== undefined) exporters.push(await azureExporters(connectionString));
  return exporters;
}

async function otlpExporters({ endpoint, headers }: NonNullable<TelemetrySettings['otlp']>): Promise<Exporters> {
  const [{ OTLPTraceExporter }, { OTLPLogExporter }] = await Promise.all([
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/exporter-logs-otlp-http'),
  ]);
  const options = { headers: { ...headers }, timeoutMillis: exportTimeoutMs };
  return {
    spans: new OTLPTraceExporter({ ...options, url: `${endpoint}/v1/traces` }),
    logs: new OTLPLogExporter({ ...options, url: `${endpoint}/v1/logs` }),
  };
}

/** It sends to the address of its connection string and to nobody else: what the package would tell its makers stays off. */
async function azureExporters(connectionString: string): Promise<Exporters> {
  process.env['APPLICATION_INSIGHTS_NO_STATSBEAT'] ??= '1';
  process.env['APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED'] ??= 'true';
  const { AzureMonitorLogExporter, AzureMonitorTraceExporter } = await import('@azure/monitor-opentelemetry-exporter');
  // The root of a container is often read-only, and a device's disk is for rows.
  const options = { connectionString, disableOfflineStorage: true };
  return { spans: new AzureMonitorTraceExporter(options), logs: new AzureMonitorLogExporter(options) };
}
