import { metadataOf, serverMetadata } from '../protocol/model-metadata.ts';
import type { Exchange } from './exchange.ts';
import { methodNotAllowed } from './method-not-allowed.ts';
import { answerRepository } from './repository-endpoint.ts';
import type { RouterOptions } from './router.ts';
import { replyFailure, scoreBody } from './score-endpoint.ts';

/** Answers the paths below `/v2`, the Open Inference Protocol's: the server, its health, its models. */
export function inferenceProtocol(exchange: Exchange, path: string, options: RouterOptions): Promise<void> | undefined {
  const parts = path.split('/').slice(2).map(decoded);
  // One slash behind a path does no harm.
  if (parts.at(-1) === '') parts.pop();
  if (parts[0] === 'repository') return answerRepository(exchange, parts.slice(1), options);
  const inference = parts[0] === 'models' && parts.at(-1) === 'infer';
  const wanted = inference ? 'POST' : 'GET';
  const [what, name] = parts;
  if (exchange.method !== wanted) methodNotAllowed(exchange, wanted, 'infer');
  else if (what === undefined) exchange.json(200, serverMetadata);
  else if (what === 'health' && parts.length === 2) health(exchange, name, options);
  else if (what === 'models' && name !== undefined) modelPath(exchange, parts.slice(1), options);
  else exchange.json(404, { error: `There is nothing at "${path}"` });
  return undefined;
}

function health(exchange: Exchange, what: string | undefined, options: RouterOptions): void {
  if (what === 'live') exchange.json(200, { live: true });
  else if (what !== 'ready') exchange.json(404, { error: `There is no health of "${what}": live or ready was wanted` });
  else if (options.isReady()) exchange.json(200, { ready: true });
  else exchange.json(503, { ready: false });
}

/** `{model}[/versions/{version}][/ready|/infer]` */
function modelPath(exchange: Exchange, parts: readonly string[], options: RouterOptions): void {
  const [name = '', versions, version] = parts;
  const hasVersion = versions === 'versions' && version !== undefined;
  const [what, ...more] = parts.slice(hasVersion ? 3 : 1);
  try {
    const scorer = options.models.find(name, hasVersion ? version : undefined);
    if (more.length > 0) exchange.json(404, { error: `There is nothing at "${parts.join('/')}" of the models` });
    else if (what === undefined) exchange.json(200, metadataOf(scorer, options.models));
    else if (what === 'ready' && options.isReady()) exchange.json(200, { name, ready: true });
    else if (what === 'ready') exchange.json(503, { name, ready: false });
    else if (what === 'infer') scoreBody(exchange, { protocol: 'infer', scorer }, options);
    else exchange.json(404, { error: `There is nothing at "${what}" of a model` });
  } catch (error) {
    replyFailure(exchange, error, 'infer');
  }
}

/** A path that is not well encoded names nothing. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
