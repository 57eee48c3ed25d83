import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../../shared/log.ts';
import { scriptPath } from '../../shared/model/script.ts';
import { FerryError } from '../../shared/errors.ts';
import { AcceleratorScorer } from './accelerator/accelerator-scorer.ts';
import type { Collection } from './collection.ts';
import { InlineScorer } from './inline-scorer.ts';
import { loadModel } from './model/load-model.ts';
import { tryModel } from './model/trial.ts';
import { PlacedScorer } from './placed-scorer.ts';
import { WorkerPool } from './pool/worker-pool.ts';
import type { Scorer } from './scorer.ts';
import { type ScoringSettings, scriptModel } from './settings.ts';

/** What placing a model needs beside it. */
export interface PlaceModelOptions {
  readonly settings: ScoringSettings;
  readonly log: Logger;
  /** The program's main module, which workers start from. */
  readonly entry: URL;
  readonly collection: Collection | undefined;
}

/** A larger file is no light model, and loading it to find out would cost memory that does not come back. */
const lightBytesMax = 4 * 1024 * 1024;

/** A run of one row that takes longer has no place on the thread that listens. */
const lightRunMsMax = 0.25;

/**
 * Decides by measuring where a model runs: on the listening thread where a run is far below a millisecond, which saves the way to
 * a worker and back, else in worker processes.
 * @param index position of the model in the service configuration
 * @throws {FerryError} MODEL_INVALID
 */
export async function placeModel(index: number, options: PlaceModelOptions): Promise<Scorer> {
  const { settings, log, entry, collection } = options;
  const model = settings.config.models[index];
  if (model === undefined) throw new Error(`There is no model ${index}`);
  const { workerBytesMax, batchRowsMax, waitingMax, accelerator } = settings;
  if (accelerator !== undefined) {
    const collector = collection?.collector;
    return await AcceleratorScorer.start(model, { settings: accelerator, waitingMax, collector, log });
  }
  const startPool = (workers: number): Promise<WorkerPool> =>
    WorkerPool.start({ model, order: { settings, model: index }, entry, workers, waitingMax, workerBytesMax, log });
  if (fileBytes(join(settings.root, model.path)) > lightBytesMax) return await startPool(settings.workers);
  const loaded = await loadModel(model, { root: settings.root, log, light: true });
  const { runMs, sharesRuns } = tryModel(loaded);
  log.debug({ model: model.name, version: model.version, runMs, sharesRuns }, 'tried the model');
  if (runMs > lightRunMsMax) return await startPool(settings.workers);
  const batching = { sharesRuns, waitingMax, rowsMax: batchRowsMax };
  const inline = new InlineScorer(loaded, { batching, collector: collection?.collector });
  return new PlacedScorer(inline, () => startPool(1));
}

/**
 * Starts the workers of the image's script, where it has one: what a user wrote may take long, crash or grow.
 * @throws {FerryError} USAGE when there is an accelerator, which scripts do not use
 * @throws {FerryError} MODEL_INVALID when the script cannot be loaded or initialised; the worker's log says why
 */
export async function placeScript({ settings, log, entry }: PlaceModelOptions): Promise<WorkerPool | undefined> {
  if (!existsSync(join(settings.root, scriptPath))) return undefined;
  const { workers, workerBytesMax, waitingMax, accelerator } = settings;
  if (accelerator !== undefined) {
    throw new FerryError(
      'USAGE',
      'Cannot use the accelerator: the image has a script, whose models run on the processor; MODELFERRY_ACCELERATOR_URL was wanted not to be set',
    );
  }
  return await WorkerPool.start({
    model: scriptModel(settings),
    order: { settings, model: 'script' },
    entry,
    workers,
    waitingMax,
    workerBytesMax,
    log,
  });
}

/** A model that is not there is told when it is loaded. */
function fileBytes(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
