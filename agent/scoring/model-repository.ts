import { statSync } from 'node:fs';
import { join } from 'node:path';
import { FerryError, messageOf } from '../../shared/errors.ts';
import type { ServiceModel } from '../../shared/model/service-config.ts';
import { placeModel, type PlaceModelOptions } from './place-model.ts';
import { ServedModel } from './served-model.ts';
import type { ServedModels } from './served-models.ts';
import { readConfig } from './settings.ts';

/** One version of a model, as the repository has it. */
export interface RepositoryEntry {
  readonly name: string;
  readonly version: string;
  readonly state: 'READY' | 'UNAVAILABLE';
  /** Why it is not ready. */
  readonly reason: string;
}

/**
 * The models that the service configuration names, and which of them are served. The configuration is read again whenever a
 * model is loaded, so a version comes and goes with what stands there.
 *
 * Invariants:
 * - a new version takes requests only after it was loaded and has scored a sample;
 * - what it takes the place of is ended when its requests are answered, and its memory goes back with its workers;
 * - where a load fails, what was served before is served on.
 */
export class ModelRepository {
  readonly #options: PlaceModelOptions;
  readonly #models: ServedModels;
  readonly #failures = new Map<string, string>();
  #last: Promise<unknown> = Promise.resolve();

  /** @param models what is served at the start */
  constructor(models: ServedModels, options: PlaceModelOptions) {
    this.#models = models;
    this.#options = options;
  }

  /** Gives all models, those that are not served too. */
  index(): RepositoryEntry[] {
    const configured = readConfig(this.#options.settings.root).models;
    return configured.map((model) => {
      const { name, version } = model;
      const ready = this.#models.named(name).some((served) => served.model.version === version);
      const reason = ready ? '' : (this.#failures.get(name) ?? 'unloaded');
      return { name, version: String(version), state: ready ? 'READY' : 'UNAVAILABLE', reason };
    });
  }

  /**
   * Serves the versions of a model that the configuration has now. Those that are served and have not changed stay as they are.
   * @throws {FerryError} MODEL_NOT_FOUND, MODEL_INVALID; what was served before is served on
   */
  async load(name: string): Promise<void> {
    await this.#inTurn(async () => {
      try {
        await this.#swap(name);
        this.#failures.delete(name);
      } catch (error) {
        this.#failures.set(name, messageOf(error));
        throw error;
      }
    });
  }

  /**
   * Serves a model no more; resolves when its requests are answered and it has ended.
   * @throws {FerryError} MODEL_NOT_FOUND
   */
  async unload(name: string): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#models.named(name).length === 0) this.#models.find(name);
      await this.#retire(name, this.#models.replace(name, []));
    });
  }

  async #swap(name: string): Promise<void> {
    const { settings, log } = this.#options;
    const config = readConfig(settings.root);
    const served = this.#models.named(name);
    const next: ServedModel[] = [];
    const started: ServedModel[] = [];
    try {
      for (const [index, model] of config.models.entries()) {
        if (model.name !== name) continue;
        const kept = served.find(({ identity }) => identity === identityOf(model, settings.root));
        const version = kept ?? (await serveModel(index, { ...this.#options, settings: { ...settings, config } }));
        next.push(version);
        if (kept === undefined) started.push(version);
      }
      if (next.length === 0) {
        throw new FerryError('MODEL_NOT_FOUND', `Cannot load the model "${name}": the service configuration has none`);
      }
    } catch (error) {
      for (const version of started) version.close();
      throw error;
    }
    await this.#retire(name, this.#models.replace(name, next));
    log.info({ model: name, versions: this.#models.versions(name) }, 'serves a model anew');
  }

  async #retire(name: string, versions: readonly ServedModel[]): Promise<void> {
    await Promise.all(versions.map((version) => version.retire(() => this.#models.find(name))));
  }

  /** One change at a time. */
  async #inTurn(change: () => Promise<void>): Promise<void> {
    const own = this.#last.then(change);
    this.#last = own.catch(() => undefined);
    await own;
  }
}

/**
 * Loads one model of the configuration.
 * @throws {FerryError} MODEL_INVALID
 */
export async function serveModel(index: number, options: PlaceModelOptions): Promise<ServedModel> {
  const { root, config } = options.settings;
  const model = config.models[index];
  // Looked at before it is loaded: what changes meanwhile is loaded again.
  const identity = model === undefined ? '' : identityOf(model, root);
  return new ServedModel(await placeModel(index, options), identity);
}

function identityOf(model: ServiceModel, root: string): string {
  const stat = statSync(join(root, model.path), { bigint: true, throwIfNoEntry: false });
  const file = stat === undefined ? 'none' : `${stat.ino} ${stat.size} ${stat.mtimeNs}`;
  return `${JSON.stringify(model)} ${file}`;
}
