import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { type Exporters, exportTimeoutMs } from './exporters.ts';
import type { TelemetrySettings } from './telemetry-settings.ts';

/** Sends by the OpenTelemetry protocol: JSON over HTTP, which every collector takes. */
export function otlpExporters({ endpoint, headers }: NonNullable<TelemetrySettings['otlp']>): Exporters {
  const options = { headers: { ...headers }, timeoutMillis: exportTimeoutMs };
  return {
    spans: new OTLPTraceExporter({ ...options, url: `${endpoint}/v1/traces` }),
    logs: new OTLPLogExporter({ ...options, url: `${endpoint}/v1/logs` }),
  };
}
