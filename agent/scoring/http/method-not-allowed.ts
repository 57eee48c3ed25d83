import type { Protocol } from '../protocol/score-call.ts';
import type { Exchange } from './exchange.ts';

/** Refuses a request whose method its path does not have. */
export function methodNotAllowed(exchange: Exchange, allowed: string, protocol: Protocol = 'score'): void {
  const message = `The method ${exchange.request.method} is not allowed here: ${allowed} was wanted`;
  exchange.json(405, protocol === 'infer' ? { error: message } : { message }, ['allow', allowed]);
}
