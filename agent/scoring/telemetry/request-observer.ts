import type { Logger } from '../../../shared/log.ts';
import type { ScoredModel } from '../../../shared/model/service-config.ts';
import type { Scored } from '../scorer.ts';
import type { RequestSpan, Telemetry } from './telemetry.ts';

/** A request that has its answer. */
export interface AnsweredRequest {
  readonly method: string;
  readonly path: string;
  /** 499 where the client has gone. */
  readonly status: number;
  readonly requestId: string;
  readonly clientRequestId?: string | undefined;
  readonly totalMs: number;
  readonly model?: ScoredModel | undefined;
  /** @default it was not scored */
  readonly scored?: Scored | undefined;
}

/** The settings of a {@link RequestObserver}. */
export interface RequestObserverOptions {
  readonly log: Logger;
  /** Whether each request gets a line in the log. */
  readonly logsRequests: boolean;
  /** @default nobody is told */
  readonly telemetry: Telemetry | undefined;
}

/** Hears of every request: a line in the log, a span in the trace. A server in which neither is on has no observer, and pays nothing. */
export class RequestObserver {
  readonly #options: RequestObserverOptions;

  constructor(options: RequestObserverOptions) {
    this.#options = options;
  }

  /** Opens the span of a request, where traces are on. */
  begin(request: { readonly name: string; readonly traceparent: string | undefined }): RequestSpan | undefined {
    return this.#options.telemetry?.begin(request);
  }

  /** Tells of an answer. */
  end(span: RequestSpan | undefined, request: AnsweredRequest): void {
    const { log, logsRequests } = this.#options;
    span?.end(request);
    if (!logsRequests) return;
    const { method, path, status, requestId, clientRequestId, totalMs, model, scored } = request;
    log.info(
      {
        requestId,
        clientRequestId,
        method,
        path,
        status,
        durationMs: rounded(totalMs),
        ...(model === undefined ? {} : { model: model.name, version: model.version }),
        ...(scored === undefined ? {} : { runMs: rounded(scored.times.runMs), queueMs: rounded(scored.times.queueMs) }),
        ...span?.ids,
      },
      'answered',
    );
  }
}

/** Microseconds are enough for a line. */
function rounded(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}
