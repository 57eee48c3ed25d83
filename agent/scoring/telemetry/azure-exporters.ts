import { AzureMonitorLogExporter, AzureMonitorTraceExporter } from '@azure/monitor-opentelemetry-exporter';
import { FerryError } from '../../../shared/errors.ts';
import type { Exporters } from './exporters.ts';

/**
 * Sends to Application Insights, at the address of its connection string and to nobody else: what the package would tell its makers
 * stays off.
 * @throws {FerryError} USAGE when it is no connection string
 */
export function azureExporters(connectionString: string): Exporters {
  process.env['APPLICATION_INSIGHTS_NO_STATSBEAT'] ??= '1';
  process.env['APPLICATIONINSIGHTS_SDKSTATS_DISABLED'] ??= '1';
  process.env['APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED'] ??= 'true';
  // The root of a container is often read-only, and a device's disk is for rows.
  const options = { connectionString, disableOfflineStorage: true };
  try {
    return { spans: new AzureMonitorTraceExporter(options), logs: new AzureMonitorLogExporter(options) };
  } catch (cause) {
    throw new FerryError(
      'USAGE',
      'Cannot send to Application Insights: the connection string was not accepted, "InstrumentationKey=…;IngestionEndpoint=…" was wanted',
      { cause },
    );
  }
}
