import { formatVersionedName } from '../../shared/model/name.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { listModels, type Model } from './model.ts';
import { looksAsRegistered } from './model-sources.ts';
import type { RegisterOptions, Registration } from './register.ts';

/** Models of which each is a version now. */
export interface RegisteredOnce {
  /** As they were given. */
  readonly models: readonly Model[];
  /** Ids of those that were registered just now; the others were the latest versions already. */
  readonly registered: readonly string[];
}

/**
 * Registers models, but those whose latest version is of the same bytes with the same sample. One whose files look as they did is not
 * read; any other one is read once, as it is registered.
 * @param register registers a model, or gives back what it is told of
 */
export async function registerOnce(
  workspace: Workspace,
  registrations: readonly Registration[],
  register: (registration: Registration, options: Pick<RegisterOptions, 'unlessSameAs'>) => Promise<Model>,
): Promise<RegisteredOnce> {
  const models: Model[] = [];
  const registered: string[] = [];
  for (const registration of registrations) {
    const [latest] = listModels(workspace.database, { name: registration.name, latest: true });
    const isKnown = latest !== undefined && (await looksAsRegistered(workspace.database, latest, registration));
    const model = isKnown ? latest : await register(registration, latest ? { unlessSameAs: latest } : {});
    models.push(model);
    if (model !== latest) registered.push(formatVersionedName(model));
  }
  return { models, registered };
}
