import { FerryError } from '../../shared/errors.ts';
import type { WorkerPool } from './pool/worker-pool.ts';
import type { Scorer } from './scorer.ts';

/** The models that a server has, by name and version. */
export class ServedModels {
  readonly #scorers: readonly Scorer[];

  readonly #script: WorkerPool | undefined;

  /** @param script what answers `/score` in place of the first model */
  constructor(scorers: readonly Scorer[], script?: WorkerPool) {
    this.#scorers = scorers;
    this.#script = script;
  }

  /** Requests that wait for a model or the script. */
  get waiting(): number {
    return this.#scorers.reduce((sum, { waiting }) => sum + waiting, this.#script?.waiting ?? 0);
  }

  /** Ends all that scores. */
  close(): void {
    for (const scorer of this.#scorers) scorer.close();
    this.#script?.close();
  }

  get all(): readonly Scorer[] {
    return this.#scorers;
  }

  /** The script that answers `/score`, where there is one. */
  get script(): WorkerPool | undefined {
    return this.#script;
  }

  /** Gives what answers `/score`: the script, else the first model of the service. */
  get primary(): Scorer {
    const first = this.#script ?? this.#scorers[0];
    if (first === undefined) throw new FerryError('MODEL_NOT_FOUND', 'Cannot score: the service has no model');
    return first;
  }

  /**
   * Finds a model.
   * @param version as the client wrote it @default the highest
   * @throws {FerryError} MODEL_NOT_FOUND
   */
  find(name: string, version?: string): Scorer {
    let found: Scorer | undefined;
    for (const scorer of this.#scorers) {
      const { model } = scorer;
      if (model.name !== name || (version !== undefined && String(model.version) !== version)) continue;
      if (found === undefined || model.version > found.model.version) found = scorer;
    }
    if (found !== undefined) return found;
    const known = this.#scorers.map(({ model }) => `"${model.name}:${model.version}"`).join(', ');
    const wanted = version === undefined ? name : `${name}:${version}`;
    throw new FerryError('MODEL_NOT_FOUND', `Cannot find the model "${wanted}": the service has ${known}`);
  }

  /** Gives the versions of a model, lowest first. */
  versions(name: string): string[] {
    const versions = this.#scorers.filter(({ model }) => model.name === name).map(({ model }) => model.version);
    return versions.toSorted((left, right) => left - right).map(String);
  }
}
