import { readFileSync } from 'node:fs';
import * as z from 'zod';
import { FerryError } from '../../../shared/errors.ts';

/** Where traces and logs go. */
export interface TelemetrySettings {
  /** Of Application Insights. */
  readonly connectionString: string | undefined;
  /** A collector of the OpenTelemetry protocol over HTTP. */
  readonly otlp: { readonly endpoint: string; readonly headers: Readonly<Record<string, string>> } | undefined;
  /** Share of the traces that begin here which are kept, from 0 to 1. */
  readonly traceRatio: number;
}

/** By the names that Azure ML, Application Insights and OpenTelemetry have for them. */
export const telemetryEnvironment = {
  AML_APP_INSIGHTS_ENABLED: z
    .string()
    .regex(/^(true|false)$/i)
    .optional(),
  AML_APP_INSIGHTS_KEY: z.string().min(1).optional(),
  APPLICATIONINSIGHTS_CONNECTION_STRING: z.string().min(1).optional(),
  MODELFERRY_APPLICATION_INSIGHTS_FILE: z.string().min(1).optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  OTEL_EXPORTER_OTLP_HEADERS: z.string().default(''),
  MODELFERRY_TRACE_RATIO: z.coerce.number().min(0).max(1).default(1),
};

const environmentSchema = z.object(telemetryEnvironment);

/**
 * Finds out where traces and logs go.
 * @returns undefined where they go nowhere
 * @throws {FerryError} FILE_UNREADABLE when the file with the connection string cannot be read
 */
export function telemetrySettings(given: z.infer<typeof environmentSchema>): TelemetrySettings | undefined {
  const connectionString = given.AML_APP_INSIGHTS_ENABLED?.toLowerCase() === 'false' ? undefined : connectionIn(given);
  const endpoint = given.OTEL_EXPORTER_OTLP_ENDPOINT?.replace(/\/+$/, '');
  const headers = headersIn(given.OTEL_EXPORTER_OTLP_HEADERS);
  if (connectionString === undefined && endpoint === undefined) return undefined;
  const otlp = endpoint === undefined ? undefined : { endpoint, headers };
  return { connectionString, otlp, traceRatio: given.MODELFERRY_TRACE_RATIO };
}

function connectionIn(given: z.infer<typeof environmentSchema>): string | undefined {
  const { AML_APP_INSIGHTS_KEY: key, MODELFERRY_APPLICATION_INSIGHTS_FILE: file } = given;
  const said = given.APPLICATIONINSIGHTS_CONNECTION_STRING;
  if (said !== undefined) return said;
  if (file === undefined) return key === undefined ? undefined : `InstrumentationKey=${key}`;
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw new FerryError('FILE_UNREADABLE', `Cannot read the connection string of Application Insights in "${file}"`, {
      cause,
    });
  }
}

/** `name=value,…`, percent-encoded, as OpenTelemetry's specification has it. */
function headersIn(text: string): Record<string, string> {
  const pairs = text.split(',').flatMap((pair) => {
    const [name = '', ...value] = pair.split('=');
    return name.trim() === '' ? [] : [[name.trim(), decodeURIComponent(value.join('=').trim())] as const];
  });
  return Object.fromEntries(pairs);
}
