import type { Logger } from '../../../shared/log.ts';
import { FerryError, isFerryError, messageOf } from '../../../shared/errors.ts';
import type { Wanted } from '../model/batcher.ts';
import type { ScoringMetrics } from '../metrics.ts';
import { millisecondsText } from '../milliseconds.ts';
import type { HttpParts, Protocol } from '../protocol/score-call.ts';
import type { Scored, Scorer, StageTimes } from '../scorer.ts';
import type { RequestSpan } from '../telemetry/telemetry.ts';
import { correlationHeader, type Exchange, failedHeader, tellFailure } from './exchange.ts';
import { type BodyLimits, takeBody } from './request-body.ts';

/** What scoring over HTTP needs beside the request. */
export interface ScoreEndpointOptions {
  readonly timeoutMs: number;
  readonly metrics: ScoringMetrics;
  readonly bodies: BodyLimits;
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

/** Takes the body, then scores it. */
export function scoreBody(exchange: Exchange, target: Omit<ScoreRequest, 'body'>, options: ScoreEndpointOptions): void {
  const { protocol, scorer, http } = target;
  const onFailure = (error: unknown): void => {
    exchange.closeAfter();
    replyFailure(exchange, error, protocol);
  };
  try {
    checkContentType(exchange, target);
  } catch (error) {
    onFailure(error);
    return;
  }
  const onBody = (body: Uint8Array): void => answerScore(exchange, { protocol, scorer, http, body }, options);
  takeBody(exchange, options.bodies, { onBody, onFailure });
}

/** What JSON is called; and what curl and fetch call any text where nobody told them better. */
const jsonTypes = /^(?:application\/(?:[\w.-]+\+)?json|application\/x-www-form-urlencoded|text\/plain)\s*(?:;|$)/i;

/**
 * Where the input is declared, which it is of every model, a client that says that it sends something other than JSON is refused, as
 * Azure ML does it. A script that declares nothing takes anything.
 * @throws {FerryError} REQUEST_TYPE_UNSUPPORTED
 */
function checkContentType({ request }: Exchange, { protocol, scorer }: Omit<ScoreRequest, 'body'>): void {
  const said = request.headers.get('content-type');
  if (said === undefined || protocol !== 'score' || scorer.model.signature.inputs.length === 0) return;
  if (said === 'application/json' || jsonTypes.test(said)) return;
  throw new FerryError(
    'REQUEST_TYPE_UNSUPPORTED',
    `Cannot read the request: its content type is "${said}", application/json was wanted`,
  );
}

/**
 * Scores and answers, in the form of the protocol that was asked in. Callbacks, not `await`: a request that shares a run takes no longer
 * than some functions that wait for each other.
 */
export function answerScore(exchange: Exchange, request: ScoreRequest, options: ScoreEndpointOptions): void {
  const { scorer, protocol, body, http } = request;
  const onFailure = (error: unknown): void => {
    replyFailure(exchange, error, protocol);
    const { status } = tellFailure(error);
    if (status >= 500) logFailure(exchange, error, options.log);
    count(exchange, request, options, { status, scored: undefined });
  };
  const onScored = (scored: Scored): void => {
    try {
      replyScored(exchange, scored);
      count(exchange, request, options, { status: scored.answer.status ?? 200, scored });
    } catch (error) {
      onFailure(error);
    }
  };
  try {
    const jsonBytes = protocol === 'infer' ? jsonBytesSaid(exchange) : undefined;
    const wanted = new WantedAnswer(exchange, options.timeoutMs);
    const { requestId, idIsOwn } = exchange;
    scorer.score({ protocol, body, jsonBytes, requestId, idIsOwn, wanted, http }).then(onScored, onFailure);
  } catch (error) {
    onFailure(error);
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
  const { status = 200, contentType, body, headers, jsonBytes } = answer;
  let fields = `${succeededField}x-ms-run-fn-exec-ms: ${millisecondsText(times.runMs)}\r\nserver-timing: ${serverTiming(times)}\r\n`;
  if (correlationId !== undefined) fields += `${correlationHeader}: ${correlationId}\r\n`;
  if (jsonBytes !== undefined) fields += `inference-header-content-length: ${jsonBytes}\r\n`;
  exchange.reply(
    headers === undefined ? { status, contentType, body, fields } : { status, contentType, body, fields, headers },
  );
}

const succeededField = `${failedHeader}: False\r\n`;

/** @see https://www.w3.org/TR/server-timing/ */
export function serverTiming({ parseMs, queueMs, runMs, writeMs }: StageTimes): string {
  const [parse, queue, run] = [millisecondsText(parseMs), millisecondsText(queueMs), millisecondsText(runMs)];
  return `parse;dur=${parse},queue;dur=${queue},run;dur=${run},write;dur=${millisecondsText(writeMs)}`;
}

/** Tells a failure as the protocol has it: `{"message"}` of Azure ML, `{"error"}` of the Open Inference Protocol. */
export function replyFailure(exchange: Exchange, error: unknown, protocol: Protocol): void {
  const { status, message, headers } = tellFailure(error);
  const byModel = isFerryError(error, 'SCORING_FAILED') || isFerryError(error, 'TIMEOUT');
  const document = protocol === 'infer' ? { error: message } : { message };
  exchange.json(status, document, [...headers, failedHeader, byModel ? 'True' : 'False']);
}

function jsonBytesSaid({ request }: Exchange): number | undefined {
  const header = request.headers.get('inference-header-content-length');
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header);
  throw new FerryError(
    'REQUEST_INVALID',
    `Cannot read the request: Inference-Header-Content-Length is "${header}", a number was wanted`,
  );
}

/** Tells the log why a request was not scored; a stranger's mistakes are not the log's business. */
export function logFailure(
  request: { readonly requestId: string; readonly span: RequestSpan | undefined },
  error: unknown,
  log: Logger,
): void {
  const fields = { requestId: request.requestId, ...request.span?.ids, reason: messageOf(error) };
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
  exchange.model = scorer.model;
  exchange.scored = answered.scored;
  const { scored } = answered;
  metrics.request(scorer.model.name, { status, scored, totalMs: performance.now() - exchange.startMs });
}
