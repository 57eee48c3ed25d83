import type { Exchange } from './exchange.ts';

/** Headers of an answer that a page's script may read, beside those that every page may. */
const readable = [
  'x-request-id',
  'x-ms-request-id',
  'x-ms-client-request-id',
  'x-ms-run-function-failed',
  'x-ms-run-fn-exec-ms',
  'x-modelferry-correlation-id',
  'inference-header-content-length',
  'server-timing',
  'retry-after',
].join(', ');

/** How long a browser may remember what it was allowed: Chromium takes no more. */
const rememberSeconds = 7200;

/**
 * Lets pages of the origins that are allowed read the answer, errors as well.
 * @returns whether all is answered: a browser asked whether it may ask
 */
export function crossOrigin(exchange: Exchange, origins: readonly string[]): boolean {
  if (origins.length === 0) return false;
  const { headers, method } = exchange.request;
  const origin = headers.get('origin');
  // Caches must know even where this one may not.
  if (origin === undefined || !(origins.includes(origin) || origins.includes('*'))) {
    exchange.alwaysReply(['vary', 'origin']);
    return false;
  }
  const allowed = ['vary', 'origin', 'access-control-allow-origin', origin, 'access-control-expose-headers', readable];
  const isPreflight = method === 'OPTIONS' && headers.get('access-control-request-method') !== undefined;
  if (!isPreflight) {
    exchange.alwaysReply(allowed);
    return false;
  }
  exchange.alwaysReply([
    ...allowed,
    'access-control-allow-methods',
    'GET, OPTIONS, POST',
    'access-control-allow-headers',
    headers.get('access-control-request-headers') ?? 'content-type',
    'access-control-max-age',
    String(rememberSeconds),
  ]);
  exchange.reply({ status: 200, contentType: 'text/plain', body: '', headers: ['allow', 'GET, OPTIONS, POST'] });
  return true;
}
