import { FerryError, isFerryError, messageOf } from '../../../shared/errors.ts';
import type { ModelRepository } from '../model-repository.ts';
import type { Callers } from './callers.ts';
import type { Exchange } from './exchange.ts';
import { methodNotAllowed } from './method-not-allowed.ts';
import { replyFailure } from './score-endpoint.ts';

/** What the endpoint answers from. */
export interface RepositoryEndpointOptions {
  readonly callers: Callers | undefined;
  /** @default models stay as they are: several threads serve them, each its own */
  readonly repository: ModelRepository | undefined;
}

/**
 * Answers `index` and `models/{model}/load|unload`, the model repository extension of the Open Inference Protocol. All of it is
 * for administrators; bodies are not looked at.
 * @see https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
 */
export async function answerRepository(
  exchange: Exchange,
  parts: readonly string[],
  { callers, repository }: RepositoryEndpointOptions,
): Promise<void> {
  const [what, name = '', change] = parts;
  if (exchange.method !== 'POST') {
    methodNotAllowed(exchange, 'POST', 'infer');
    return;
  }
  try {
    checkAdmin(callers, exchange);
    if (repository === undefined) {
      throw new FerryError(
        'IN_USE',
        'Cannot change the models: several threads serve them (MODELFERRY_LISTENERS), one was wanted',
      );
    }
    if (what === 'index' && parts.length === 1) exchange.json(200, repository.index());
    else if (what === 'models' && parts.length === 3 && (change === 'load' || change === 'unload')) {
      await repository[change](name);
      exchange.json(200, {});
    } else exchange.json(404, { error: `There is nothing at "${parts.join('/')}" of the repository` });
  } catch (error) {
    if (isFerryError(error, 'MODEL_INVALID') || isFerryError(error, 'IN_USE')) {
      exchange.json(isFerryError(error, 'IN_USE') ? 409 : 400, { error: messageOf(error) });
    } else replyFailure(exchange, error, 'infer');
  }
}

function checkAdmin(callers: Callers | undefined, { request }: Exchange): void {
  if (callers === undefined) {
    throw new FerryError(
      'UNAUTHORIZED',
      'Cannot change the models: the service has no file of keys, an "adminKey" in it was wanted',
    );
  }
  callers.checkAdmin(request.headers.get('authorization'));
}
