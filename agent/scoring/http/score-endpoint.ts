import type { Logger } from '../../../shared/log.ts';
import { FerryError, isFerryError, messageOf } from '../../../shared/errors.ts';
import type { Wanted } from '../model/batcher.ts';
import type { ScoringMetrics } from '../metrics.ts';
import type { HttpParts, Protocol } from '../protocol/score-call.ts';
import type { Scored, Scorer } from '../scorer.ts';
import { correlationHeader, type Exchange, tellFailure } from './exchange.ts';

/** What scoring over HTTP needs beside the request. */
export interface ScoreEndpointOptions {
  readonly timeoutMs: number;
  readonly metrics: ScoringMetrics;
  readonly log: Logger;
}

/** A request to score, in bytes. */
export interface ScoreRequest {
  readonly protocol: Protocol;
  readonly scorer: Scorer;
  readonly body: Uint8Array;
  /** What came with the body, for scripts alone. */
  readonly http?: HttpParts | undefined;
}

/** Scores and answers, in the form of the protocol that was asked in. */
export async function answerScore(
  exchange: Exchange,
  request: ScoreRequest,
  options: ScoreEndpointOptions,
): Promise<void> {
  const { scorer, protocol, body, http } = request;
  const { timeoutMs } = options;
  const wanted = new WantedAnswer(exchange, timeoutMs);
  try {
    const jsonBytes = protocol === 'infer' ? jsonBytesSaid(exchange) : undefined;
    const scored = await scorer.score({ protocol, body, jsonBytes, requestId: exchange.requestId, wanted, http });
    replyScored(exchange, scored);
    count(exchange, request, options, { status: scored.answer.status ?? 200, scored });
  } catch (error) {
    replyFailure(exchange, error, protocol);
    const { status } = tellFailure(error);
    if (status >= 500) logFailure(exchange, error, options.log);
    count(exchange, request, options, { status, scored: undefined });
  }
}

/**
 * Whether the answer to a request over HTTP is wanted. A class, since an object literal with a getter has a hidden class of its
 * own, which keeps the request alive until the old generation is collected.
 */
class WantedAnswer implements Wanted {
  readonly #exchange: Exchange;
  readonly deadlineAtMs: number;
  readonly timeoutMs: number;

  constructor(exchange: Exchange, timeoutMs: number) {
    this.#exchange = exchange;
    this.deadlineAtMs = exchange.startMs + timeoutMs;
    this.timeoutMs = timeoutMs;
  }

  get abandoned(): boolean {
    return this.#exchange.gone;
  }
}

function replyScored(exchange: Exchange, { answer, times, correlationId }: Scored): void {
  const { parseMs, queueMs, runMs, writeMs } = times;
  const headers = [
    'x-ms-run-function-failed',
    'False',
    'x-ms-run-fn-exec-ms',
    runMs.toFixed(3),
    'server-timing',
    `parse;dur=${parseMs.toFixed(3)},queue;dur=${queueMs.toFixed(3)},run;dur=${runMs.toFixed(3)},write;dur=${writeMs.toFixed(3)}`,
  ];
  if (correlationId !== undefined) headers.push(correlationHeader, correlationId);
  if (answer.headers !== undefined) headers.push(...answer.headers);
  if (answer.jsonBytes !== undefined) headers.push('inference-header-content-length', String(answer.jsonBytes));
  exchange.reply({ status: answer.status ?? 200, contentType: answer.contentType, body: answer.body, headers });
}

/** Tells a failure as the protocol has it: `{"message"}` of Azure ML, `{"error"}` of the Open Inference Protocol. */
export function replyFailure(exchange: Exchange, error: unknown, protocol: Protocol): void {
  const { status, message, headers } = tellFailure(error);
  const byModel = isFerryError(error, 'SCORING_FAILED') || isFerryError(error, 'TIMEOUT');
  const document = protocol === 'infer' ? { error: message } : { message };
  exchange.json(status, document, [...headers, 'x-ms-run-function-failed', byModel ? 'True' : 'False']);
}

function jsonBytesSaid({ request }: Exchange): number | undefined {
  const header = request.headers['inference-header-content-length'];
  if (header === undefined) return undefined;
  if (typeof header === 'string' && /^\d{1,9}$/.test(header)) return Number(header);
  throw new FerryError(
    'REQUEST_INVALID',
    `Cannot read the request: Inference-Header-Content-Length is "${String(header)}", a number was wanted`,
  );
}

function logFailure(exchange: Exchange, error: unknown, log: Logger): void {
  const fields = { requestId: exchange.requestId, reason: messageOf(error) };
  if (isFerryError(error, 'OVERLOADED')) log.debug(fields, 'refused a request');
  else if (isFerryError(error, 'INTERRUPTED')) log.debug(fields, 'nobody waits for the answer');
  else log.error(isFerryError(error) ? fields : { ...fields, err: error }, 'could not score');
}

function count(
  exchange: Exchange,
  { scorer }: ScoreRequest,
  { metrics }: ScoreEndpointOptions,
  answered: { readonly status: number; readonly scored: Scored | undefined },
): void {
  // 499, as nginx has it: the client has gone.
  const status = exchange.gone ? 499 : answered.status;
  metrics.request(scorer.model.name, { ...answered, status, totalMs: performance.now() - exchange.startMs });
}
