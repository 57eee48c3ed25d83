import { hostname } from 'node:os';
import {
  type Context,
  diag,
  DiagLogLevel,
  isSpanContextValid,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
} from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base';
import * as z from 'zod';
import { messageOf } from '../../../shared/errors.ts';
import { exportTimeoutMs, makeExporters } from './exporters.ts';
import type { AnsweredRequest } from './request-observer.ts';
import type { TelemetrySettings } from './telemetry-settings.ts';

/** What waits to be sent: more is dropped, so that a collector which is down costs nothing but this. */
const queue = {
  maxQueueSize: 2048,
  maxExportBatchSize: 512,
  scheduledDelayMillis: 1000,
  exportTimeoutMillis: exportTimeoutMs,
};

/** How often it is told that a collector cannot be reached. */
const reportEveryMs = 60_000;

/** OpenTelemetry's numbers of pino's levels. */
const severityOf: Readonly<Record<string, number>> = { trace: 1, debug: 5, info: 9, warn: 13, error: 17, fatal: 21 };

/** A line of the log, as pino writes it. */
const lineSchema = z.looseObject({
  level: z.string(),
  msg: z.string().default(''),
  err: z.looseObject({ type: z.string(), message: z.string(), stack: z.string() }).partial().optional(),
  traceId: z.string().optional(),
  spanId: z.string().optional(),
  /** Set on lines about telemetry, which would never end if they were sent. */
  telemetry: z.boolean().optional(),
});

/** The settings of {@link Telemetry}. */
export interface TelemetryOptions {
  readonly settings: TelemetrySettings;
  readonly service: string;
  readonly serviceVersion: string;
  readonly workspace: string;
  /** Called, once in a while, when what is to be sent cannot be. */
  readonly onFailure: (reason: string) => void;
}

/** Sends traces and logs, to Application Insights, to a collector, or to both. */
export class Telemetry {
  readonly #tracers: BasicTracerProvider;
  readonly #loggers: LoggerProvider;
  readonly #tracer: Tracer;

  private constructor(tracers: BasicTracerProvider, loggers: LoggerProvider) {
    this.#tracers = tracers;
    this.#loggers = loggers;
    this.#tracer = tracers.getTracer('modelferry');
  }

  /** @throws {FerryError} USAGE when the connection string is none */
  static async start(options: TelemetryOptions): Promise<Telemetry> {
    const { settings, service, serviceVersion, workspace, onFailure } = options;
    reportTo(onFailure);
    const exporters = await makeExporters(settings);
    const resource = resourceFromAttributes({
      'service.name': service,
      'service.version': serviceVersion,
      'service.instance.id': hostname(),
      'modelferry.workspace': workspace,
    });
    const sampler = new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(settings.traceRatio) });
    const tracers = new BasicTracerProvider({
      resource,
      sampler,
      spanProcessors: exporters.map(({ spans }) => new BatchSpanProcessor(spans, queue)),
    });
    const loggers = new LoggerProvider({
      resource,
      processors: exporters.map(({ logs }) => new BatchLogRecordProcessor({ exporter: logs, ...queue })),
    });
    return new Telemetry(tracers, loggers);
  }

  /** Opens the span of a request, below that of the caller where it names one. */
  begin({ name, traceparent }: { readonly name: string; readonly traceparent: string | undefined }): RequestSpan {
    return new RequestSpan(this.#tracer.startSpan(name, { kind: SpanKind.SERVER }, contextOf(traceparent)));
  }

  /** Sends a line of the log. */
  line(text: string): void {
    const parsed = lineSchema.safeParse(JSON.parse(text));
    if (!parsed.success || parsed.data.telemetry === true) return;
    const { level, msg, err, traceId = '', spanId = '', time, program: _program, name: _name, ...fields } = parsed.data;
    const spanContext = { traceId, spanId, traceFlags: 1 };
    this.#loggers.getLogger('modelferry').emit({
      ...(typeof time === 'string' ? { timestamp: new Date(time) } : {}),
      severityNumber: severityOf[level] ?? 0,
      severityText: level.toUpperCase(),
      body: msg,
      attributes: {
        ...flat(fields),
        ...(err === undefined
          ? {}
          : flat({
              'exception.type': err.type,
              'exception.message': err.message,
              'exception.stacktrace': err.stack,
            })),
      },
      ...(isSpanContextValid(spanContext) ? { context: trace.setSpanContext(ROOT_CONTEXT, spanContext) } : {}),
    });
  }

  /** Sends what waits, and ends; what is not sent in time is lost. */
  async close(timeoutMs: number): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    const closed = Promise.allSettled([this.#tracers.shutdown(), this.#loggers.shutdown()]);
    await Promise.race([closed, late]);
    clearTimeout(timer);
  }
}

/** A request in a trace. */
export class RequestSpan {
  readonly #span: Span;

  constructor(span: Span) {
    this.#span = span;
  }

  /** What lines of the log name it by. */
  get ids(): { readonly traceId: string; readonly spanId: string } {
    const { traceId, spanId } = this.#span.spanContext();
    return { traceId, spanId };
  }

  /** The W3C header by which what a script calls continues the trace. */
  get traceparent(): string {
    const { traceId, spanId, traceFlags } = this.#span.spanContext();
    return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
  }

  /** Closes it with what was answered. */
  end({ method, path, status, requestId, clientRequestId, model, scored }: AnsweredRequest): void {
    this.#span.setAttributes({
      'http.request.method': method,
      'url.path': path,
      'http.route': path,
      'http.response.status_code': status,
      'modelferry.request_id': requestId,
      ...(clientRequestId === undefined ? {} : { 'modelferry.client_request_id': clientRequestId }),
      ...(model === undefined ? {} : { 'modelferry.model': model.name, 'modelferry.model_version': model.version }),
    });
    if (scored !== undefined) {
      const { parseMs, queueMs, runMs, writeMs } = scored.times;
      this.#span.setAttributes({
        'modelferry.parse_ms': parseMs,
        'modelferry.queue_ms': queueMs,
        'modelferry.run_ms': runMs,
        'modelferry.write_ms': writeMs,
        'modelferry.batch_requests': scored.batchRequests,
      });
    }
    if (status >= 500) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    this.#span.end();
  }
}

/** @see https://www.w3.org/TR/trace-context/#traceparent-header */
function contextOf(traceparent: string | undefined): Context {
  const [, traceId = '', spanId = '', flags = ''] =
    /^00-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})$/.exec(traceparent ?? '') ?? [];
  const parent = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
  return isSpanContextValid(parent) ? trace.setSpanContext(ROOT_CONTEXT, parent) : ROOT_CONTEXT;
}

/** Attributes are texts, numbers and booleans. */
function flat(fields: Readonly<Record<string, unknown>>): Record<string, string | number | boolean> {
  const known = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    known.map(([name, value]) => {
      const plain = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
      return [name, plain ? value : JSON.stringify(value)];
    }),
  );
}

/** OpenTelemetry's packages tell of failures by a logger of their own. */
function reportTo(onFailure: (reason: string) => void): void {
  let toldAtMs = Number.NEGATIVE_INFINITY;
  const tell = (...parts: unknown[]): void => {
    if (performance.now() - toldAtMs < reportEveryMs) return;
    toldAtMs = performance.now();
    onFailure(parts.map(messageOf).join(' '));
  };
  const quiet = (): void => {};
  diag.setLogger(
    { error: tell, warn: tell, info: quiet, debug: quiet, verbose: quiet },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}
