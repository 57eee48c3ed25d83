import type { Collector } from '../../collect/collector.ts';
import type { StreamLedger } from '../../collect/ledger.ts';
import type { Logger } from '../../../shared/log.ts';
import type { Figures } from '../figures.ts';
import type { ModelRepository } from '../model-repository.ts';
import type { ScoringMetrics } from '../metrics.ts';
import type { Scorer } from '../scorer.ts';
import type { ServedModels } from '../served-models.ts';
import type { RequestObserver } from '../telemetry/request-observer.ts';
import type { Callers } from './callers.ts';
import { crossOrigin } from './cross-origin.ts';
import type { Exchange } from './exchange.ts';
import { answerLabels } from './labels-endpoint.ts';
import { queryBody } from './query-body.ts';
import { inferenceProtocol } from './inference-endpoints.ts';
import { methodNotAllowed } from './method-not-allowed.ts';
import type { BodyLimits } from './request-body.ts';
import type { HttpParts } from '../protocol/score-call.ts';
import { answerScore, replyFailure, scoreBody } from './score-endpoint.ts';
import { swaggerDocument } from './swagger.ts';

/** What the routes answer from. */
export interface RouterOptions {
  readonly models: ServedModels;
  /** Changes the models. @default they stay as they are: several threads serve them, each its own */
  readonly repository: ModelRepository | undefined;
  readonly metrics: ScoringMetrics;
  /** Gives what became of what was collected, for `/metrics`. */
  readonly ledger: () => readonly StreamLedger[];
  /** Gives the figures of all threads for `/metrics`. */
  readonly gather: () => Promise<readonly Figures[]>;
  readonly isReady: () => boolean;
  /** Takes labels. @default collection is off */
  readonly collector: Collector | undefined;
  /** Lets callers pass. @default everybody */
  readonly callers: Callers | undefined;
  /** Answers health and metrics alone, to everybody. */
  readonly healthOnly: boolean;
  readonly timeoutMs: number;
  readonly title: string;
  readonly serviceVersion: string;
  /** Origins whose pages may read answers. */
  readonly corsOrigins: readonly string[];
  /** Stands before every path; or empty. */
  readonly pathPrefix: string;
  readonly bodies: BodyLimits;
  /** Hears of every request. @default nobody does */
  readonly observer: RequestObserver | undefined;
  readonly log: Logger;
}

/**
 * Finds what a request asks for, and answers it.
 * @returns what is to be waited for; requests to score tell by themselves when they are answered
 */
export function route(exchange: Exchange, options: RouterOptions): Promise<void> | undefined {
  const path = withoutPrefix(exchange.path, options);
  const query = exchange.request.target.slice(exchange.path.length + 1);
  if (exchange.idsAreTooLong) {
    exchange.json(431, { message: 'The request id is too long: at most 100 characters were wanted' });
  } else if (path === undefined || (options.healthOnly && !isHealth(path) && path !== '/metrics')) {
    exchange.json(404, { message: `There is nothing at "${exchange.path}"` });
  } else if (crossOrigin(exchange, options.corsOrigins) || !mayPass(exchange, path, options)) return undefined;
  else if (path === '/score') score(exchange, query, options);
  else if (path === '/collect/labels') return labels(exchange, options);
  else if (path === '/v2' || path.startsWith('/v2/')) return inferenceProtocol(exchange, path, options);
  else return about(exchange, { path, query }, options);
  return undefined;
}

/**
 * Takes the prefix off a path. Health and metrics are there without it as well, for those that stand beside the server and not
 * before it.
 * @returns undefined where it is not there
 */
function withoutPrefix(path: string, { pathPrefix }: RouterOptions): string | undefined {
  if (pathPrefix === '') return path;
  if (path === pathPrefix) return '/';
  if (path.startsWith(`${pathPrefix}/`)) return path.slice(pathPrefix.length);
  return isHealth(path) || path === '/metrics' ? path : undefined;
}

async function labels(exchange: Exchange, options: RouterOptions): Promise<void> {
  if (exchange.method === 'POST') await answerLabels(exchange, options);
  else methodNotAllowed(exchange, 'POST');
}

/** What a load balancer asks for, which has no key. */
function isHealth(path: string): boolean {
  return path === '/' || path.startsWith('/v2/health/');
}

/** Says whether the request may pass; one that may not gets its answer here. */
function mayPass(exchange: Exchange, path: string, { callers, healthOnly, models }: RouterOptions): boolean {
  // The repository asks for the admin key itself.
  if (callers === undefined || healthOnly || isHealth(path) || path.startsWith('/v2/repository/')) return true;
  // What OPTIONS tells is no secret; a raw script answers it itself, which is nothing for strangers.
  if (exchange.method === 'OPTIONS' && models.script?.raw !== true) return true;
  try {
    callers.check(exchange.request.headers.get('authorization'));
    return true;
  } catch (error) {
    // What a stranger sends is not read.
    exchange.closeAfter();
    replyFailure(exchange, error, path.startsWith('/v2') ? 'infer' : 'score');
    return false;
  }
}

function score(exchange: Exchange, query: string, options: RouterOptions): void {
  const { method } = exchange;
  const { script } = options.models;
  const primary = primaryModel(exchange, options);
  if (primary === undefined) return;
  const http = script === undefined ? undefined : httpParts(exchange, query);
  const target = { protocol: 'score', scorer: primary, http } as const;
  if (script?.raw === true) scoreBody(exchange, target, options);
  else if (method === 'POST') scoreBody(exchange, target, options);
  else if (method === 'GET') answerScore(exchange, { ...target, body: queryBody(query) }, options);
  else if (method === 'OPTIONS') {
    exchange.reply({ status: 200, contentType: 'text/plain', body: '', headers: ['allow', 'GET, OPTIONS, POST'] });
  } else methodNotAllowed(exchange, 'GET, OPTIONS, POST');
}

async function about(exchange: Exchange, at: { path: string; query: string }, options: RouterOptions): Promise<void> {
  const { path, query } = at;
  if (!['/', '/metrics', '/swagger.json'].includes(path)) {
    exchange.json(404, { message: `There is nothing at "${path}"` });
  } else if (exchange.method !== 'GET') methodNotAllowed(exchange, 'GET');
  else if (path === '/') exchange.reply({ status: 200, contentType: 'text/plain', body: 'Healthy' });
  else if (path === '/metrics') {
    // Who is never asked for metrics does not load what writes them.
    const { exposition } = await import('../figures.ts');
    const { contentType, text } = await exposition(await options.gather(), options.ledger());
    exchange.reply({ status: 200, contentType, body: Buffer.from(text) });
  } else {
    const asked = new URLSearchParams(query).get('version');
    const { title, serviceVersion: version, pathPrefix } = options;
    const primary = primaryModel(exchange, options);
    if (primary === undefined) return;
    const document = swaggerDocument(asked, { title, version, pathPrefix, model: primary.model });
    if (document !== undefined) exchange.json(200, document);
    else exchange.json(404, { message: `There is no Swagger version "${asked}": 2, 3 or 3.1 was wanted` });
  }
}

/** Gives what answers `/score`; where all models are unloaded the request gets its answer here. */
function primaryModel(exchange: Exchange, { models }: RouterOptions): Scorer | undefined {
  try {
    return models.primary;
  } catch (error) {
    replyFailure(exchange, error, 'score');
    return undefined;
  }
}

function httpParts({ request, span }: Exchange, query: string): HttpParts {
  const headers = request.headers.toRecord();
  // What the script calls belongs below this server in the trace.
  if (span !== undefined) headers['traceparent'] = span.traceparent;
  return { method: request.method, query, headers };
}
