import { FerryError } from '../../shared/errors.ts';
import type { WorkerPool } from './pool/worker-pool.ts';
import type { Scorer } from './scorer.ts';
import type { ServedModel } from './served-model.ts';

/** The models that a server has, by name and version. */
export class ServedModels {
  /** In the order of the service configuration; a model that was unloaded keeps its place. */
  readonly #models = new Map<string, readonly ServedModel[]>();
  readonly #script: WorkerPool | undefined;

  /** @param script what answers `/score` in place of the first model */
  constructor(models: readonly ServedModel[], script?: WorkerPool) {
    for (const served of models) {
      const { name } = served.model;
      this.#models.set(name, [...this.named(name), served]);
    }
    this.#script = script;
  }

  /** Requests that wait for a model or the script. */
  get waiting(): number {
    return this.#served().reduce((sum, { waiting }) => sum + waiting, this.#script?.waiting ?? 0);
  }

  /** Ends all that scores. */
  close(): void {
    for (const served of this.#served()) served.close();
    this.#script?.close();
  }

  /** What the models run on. */
  get all(): readonly Scorer[] {
    return this.#served().map(({ scorer }) => scorer);
  }

  /** The script that answers `/score`, where there is one. */
  get script(): WorkerPool | undefined {
    return this.#script;
  }

  /** Gives what answers `/score`: the script, else the first model of the service. */
  get primary(): Scorer {
    const [first] = this.#models.values();
    const primary = this.#script ?? first?.[0];
    if (primary === undefined) throw new FerryError('MODEL_NOT_FOUND', 'Cannot score: the service has no model');
    return primary;
  }

  /** Gives the versions of a model that are served. */
  named(name: string): readonly ServedModel[] {
    return this.#models.get(name) ?? [];
  }

  /** Serves these versions of a model from now on, and no others; gives those that are served no more. */
  replace(name: string, versions: readonly ServedModel[]): readonly ServedModel[] {
    const before = this.named(name);
    this.#models.set(name, versions);
    return before.filter((served) => !versions.includes(served));
  }

  /**
   * Finds a model.
   * @param version as the client wrote it @default the highest
   * @throws {FerryError} MODEL_NOT_FOUND
   */
  find(name: string, version?: string): Scorer {
    let found: ServedModel | undefined;
    for (const served of this.named(name)) {
      const { model } = served;
      if (version !== undefined && String(model.version) !== version) continue;
      if (found === undefined || model.version > found.model.version) found = served;
    }
    if (found !== undefined) return found;
    const known = this.#served()
      .map(({ model }) => `"${model.name}:${model.version}"`)
      .join(', ');
    const wanted = version === undefined ? name : `${name}:${version}`;
    throw new FerryError(
      'MODEL_NOT_FOUND',
      `Cannot find the model "${wanted}": the service has ${known === '' ? 'none' : known}`,
    );
  }

  /** Gives the versions of a model, lowest first. */
  versions(name: string): string[] {
    const versions = this.named(name).map(({ model }) => model.version);
    return versions.toSorted((left, right) => left - right).map(String);
  }

  #served(): ServedModel[] {
    return [...this.#models.values()].flat();
  }
}
