import type { Collector } from '../../collect/collector.ts';
import type { Logger } from '../../../shared/log.ts';
import { exposition, type Figures } from '../figures.ts';
import type { ScoringMetrics } from '../metrics.ts';
import { datatypeOf } from '../protocol/infer-datatype.ts';
import type { ServedModels } from '../served-models.ts';
import type { Scorer } from '../scorer.ts';
import { productVersion } from '../../../shared/version.ts';
import type { Callers } from './callers.ts';
import type { Exchange } from './exchange.ts';
import { answerLabels } from './labels-endpoint.ts';
import { queryBody } from './query-body.ts';
import { readBody } from './request-body.ts';
import type { HttpParts } from '../protocol/score-call.ts';
import { answerScore, replyFailure, type ScoreRequest } from './score-endpoint.ts';
import { swaggerDocument } from './swagger.ts';

/** What the routes answer from. */
export interface RouterOptions {
  readonly models: ServedModels;
  readonly metrics: ScoringMetrics;
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
  readonly corsOrigins: readonly string[];
  readonly log: Logger;
}

/** Extensions of the Open Inference Protocol that this server has. */
const extensions = ['binary_tensor_data'];

/** Finds what a request asks for, and answers it. */
export async function route(exchange: Exchange, options: RouterOptions): Promise<void> {
  const { url = '/' } = exchange.request;
  const queryAt = url.indexOf('?');
  const path = queryAt === -1 ? url : url.slice(0, queryAt);
  const query = queryAt === -1 ? '' : url.slice(queryAt + 1);
  if (exchange.idsAreTooLong) {
    exchange.json(431, { message: 'The request id is too long: at most 100 characters were wanted' });
  } else if (options.healthOnly && !isHealth(path) && path !== '/metrics') {
    exchange.json(404, { message: `There is nothing at "${path}" of this port` });
  } else if (!mayPass(exchange, path, options)) return;
  else if (path === '/score') await score(exchange, query, options);
  else if (path === '/collect/labels') await labels(exchange, options);
  else if (path.startsWith('/v2')) await inferenceProtocol(exchange, path, options);
  else await about(exchange, { path, query }, options);
}

async function labels(exchange: Exchange, options: RouterOptions): Promise<void> {
  if (exchange.request.method === 'POST') await answerLabels(exchange, options);
  else methodNotAllowed(exchange, 'POST');
}

/** What a load balancer asks for, which has no key. */
function isHealth(path: string): boolean {
  return path === '/' || path.startsWith('/v2/health/');
}

/** Says whether the request may pass; one that may not gets its answer here. */
function mayPass(exchange: Exchange, path: string, { callers, healthOnly }: RouterOptions): boolean {
  if (callers === undefined || healthOnly || isHealth(path) || exchange.request.method === 'OPTIONS') return true;
  try {
    callers.check(exchange.request);
    return true;
  } catch (error) {
    // What a stranger sends is not read.
    exchange.closeAfter();
    replyFailure(exchange, error, path.startsWith('/v2') ? 'infer' : 'score');
    return false;
  }
}

async function score(exchange: Exchange, query: string, options: RouterOptions): Promise<void> {
  const { method } = exchange.request;
  const { primary, script } = options.models;
  const http = script === undefined ? undefined : httpParts(exchange, query);
  const target = { protocol: 'score', scorer: primary, http } as const;
  if (script?.raw === true) {
    await scoreBody(exchange, target, options);
    return;
  }
  if (method === 'POST') await scoreBody(exchange, target, options);
  else if (method === 'GET') await answerScore(exchange, { ...target, body: queryBody(query) }, options);
  else if (method === 'OPTIONS') {
    const headers = ['allow', 'GET, OPTIONS, POST', ...corsHeaders(exchange, options)];
    exchange.reply({ status: 200, contentType: 'text/plain', body: '', headers });
  } else methodNotAllowed(exchange, 'GET, OPTIONS, POST');
}

/** Reads the body, then scores it. */
async function scoreBody(
  exchange: Exchange,
  target: Omit<ScoreRequest, 'body'>,
  options: RouterOptions,
): Promise<void> {
  let body: Uint8Array;
  try {
    body = await readBody(exchange.request);
  } catch (error) {
    exchange.closeAfter();
    replyFailure(exchange, error, target.protocol);
    return;
  }
  await answerScore(exchange, { ...target, body }, options);
}

async function about(exchange: Exchange, at: { path: string; query: string }, options: RouterOptions): Promise<void> {
  const { path, query } = at;
  if (!['/', '/metrics', '/swagger.json'].includes(path)) {
    exchange.json(404, { message: `There is nothing at "${path}"` });
  } else if (exchange.request.method !== 'GET') methodNotAllowed(exchange, 'GET');
  else if (path === '/') exchange.reply({ status: 200, contentType: 'text/plain', body: 'Healthy' });
  else if (path === '/metrics') {
    const { contentType, text } = await exposition(await options.gather());
    exchange.reply({ status: 200, contentType, body: Buffer.from(text) });
  } else {
    const asked = new URLSearchParams(query).get('version');
    const { title, serviceVersion: version, models } = options;
    const document = swaggerDocument(asked, { title, version, model: models.primary.model });
    if (document !== undefined) exchange.json(200, document);
    else exchange.json(404, { message: `There is no Swagger version "${asked}": 2, 3 or 3.1 was wanted` });
  }
}

/** The paths below `/v2`: the server, its health, its models. */
async function inferenceProtocol(exchange: Exchange, path: string, options: RouterOptions): Promise<void> {
  const parts = path.split('/').slice(2).map(decoded);
  const { method } = exchange.request;
  const inference = parts[0] === 'models' && parts.at(-1) === 'infer';
  if (method !== (inference ? 'POST' : 'GET')) {
    methodNotAllowed(exchange, inference ? 'POST' : 'GET');
    return;
  }
  if (parts.length === 0) {
    exchange.json(200, { name: 'modelferry', version: productVersion, extensions });
  } else if (parts[0] === 'health' && parts.length === 2) health(exchange, parts[1], options);
  else if (parts[0] === 'models' && parts[1] !== undefined) await modelPath(exchange, parts.slice(1), options);
  else exchange.json(404, { error: `There is nothing at "${path}"` });
}

function health(exchange: Exchange, what: string | undefined, options: RouterOptions): void {
  if (what === 'live') exchange.json(200, { live: true });
  else if (what !== 'ready') exchange.json(404, { error: `There is no health of "${what}": live or ready was wanted` });
  else if (options.isReady()) exchange.json(200, { ready: true });
  else exchange.json(503, { ready: false });
}

/** `{model}[/versions/{version}][/ready|/infer]` */
async function modelPath(exchange: Exchange, parts: readonly string[], options: RouterOptions): Promise<void> {
  const [name = '', versions, version] = parts;
  const hasVersion = versions === 'versions' && version !== undefined;
  const rest = parts.slice(hasVersion ? 3 : 1);
  try {
    const scorer = options.models.find(name, hasVersion ? version : undefined);
    if (rest.length === 0) exchange.json(200, metadataOf(scorer, options.models));
    else if (rest.length === 1 && rest[0] === 'ready') exchange.json(200, { name, ready: true });
    else if (rest.length === 1 && rest[0] === 'infer')
      await scoreBody(exchange, { protocol: 'infer', scorer }, options);
    else exchange.json(404, { error: `There is nothing at "${rest.join('/')}" of a model` });
  } catch (error) {
    replyFailure(exchange, error, 'infer');
  }
}

function metadataOf({ model }: Scorer, models: ServedModels): object {
  const { name, signature } = model;
  const tensors = (specs: typeof signature.inputs): object[] =>
    specs.map((spec) => ({
      name: spec.name,
      datatype: datatypeOf(spec.type),
      shape: spec.shape.map((dimension) => (typeof dimension === 'number' ? dimension : -1)),
    }));
  return {
    name,
    versions: models.versions(name),
    platform: 'onnxruntime_onnx',
    inputs: tensors(signature.inputs),
    outputs: tensors(signature.outputs),
  };
}

function httpParts({ request }: Exchange, query: string): HttpParts {
  const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)] as const);
  return { method: request.method ?? 'GET', query, headers: Object.fromEntries(headers) };
}

function methodNotAllowed(exchange: Exchange, allowed: string): void {
  exchange.json(405, { message: `The method ${exchange.request.method} is not allowed here: ${allowed} was wanted` }, [
    'allow',
    allowed,
  ]);
}

function corsHeaders({ request }: Exchange, { corsOrigins }: RouterOptions): string[] {
  const { origin } = request.headers;
  if (origin === undefined || !(corsOrigins.includes(origin) || corsOrigins.includes('*'))) return [];
  return [
    'access-control-allow-origin',
    origin,
    'access-control-allow-methods',
    'GET, OPTIONS, POST',
    'access-control-allow-headers',
    request.headers['access-control-request-headers'] ?? 'content-type',
    'vary',
    'origin',
  ];
}

/** A path that is not well encoded names nothing. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
