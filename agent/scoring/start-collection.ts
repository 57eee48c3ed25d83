import type { Logger } from '../../shared/log.ts';
import type { Collection } from './collection.ts';
import type { ScoringSettings } from './settings.ts';

/** Starts collecting where it is on; what collects nothing does not load SQLite. */
export async function startCollection(
  settings: ScoringSettings,
  program: { readonly log: Logger; readonly entry: URL },
): Promise<Collection | undefined> {
  if (settings.collectInto === undefined) return undefined;
  const { Collection } = await import('./collection.ts');
  return Collection.start(settings, program);
}
