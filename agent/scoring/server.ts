import type { Logger } from '../../shared/log.ts';
import { Collection } from './collection.ts';
import { Listener } from './http/listener.ts';
import { ScoringMetrics } from './metrics.ts';
import { placeModel } from './place-model.ts';
import { ServedModels } from './served-models.ts';
import type { ScoringSettings } from './settings.ts';

/** What a scoring server needs from the program around it. */
export interface ScoringServerOptions {
  readonly settings: ScoringSettings;
  readonly log: Logger;
  /** The program's main module, which threads start from. */
  readonly entry: URL;
}

/** How long requests in flight get to end: below the 10 s after which a container engine kills. */
const drainTimeoutMs = 8_000;

interface ServerParts {
  readonly listener: Listener;
  readonly models: ServedModels;
  readonly collection: Collection | undefined;
  readonly state: { ready: boolean };
}

/** A scoring server that is ready. */
export class ScoringServer implements AsyncDisposable {
  readonly #listener: Listener;
  readonly #models: ServedModels;
  readonly #collection: Collection | undefined;
  readonly #state: { ready: boolean };

  private constructor(parts: ServerParts) {
    this.#listener = parts.listener;
    this.#models = parts.models;
    this.#collection = parts.collection;
    this.#state = parts.state;
  }

  /**
   * Loads the models and starts to listen.
   * @throws {FerryError} MODEL_INVALID, PORT_IN_USE
   */
  static async start({ settings, log, entry }: ScoringServerOptions): Promise<ScoringServer> {
    const collection = Collection.start(settings, { log, entry });
    const scorers = await Promise.all(
      settings.config.models.map((_, index) => placeModel(index, { settings, log, entry, collection })),
    );
    const models = new ServedModels(scorers);
    const state = { ready: true };
    const listener = await Listener.start(settings, {
      models,
      metrics: new ScoringMetrics(),
      readings: () => [
        {
          name: 'modelferry_waiting_requests',
          help: 'Requests that wait for a model.',
          value: scorers.reduce((sum, { waiting }) => sum + waiting, 0),
        },
        {
          name: 'modelferry_collected_rows',
          help: 'Rows that are durable in the buffer since the start.',
          value: collection?.collector.counts.committed ?? 0,
        },
        {
          name: 'modelferry_uncollected_rows',
          help: 'Rows that could not be collected since the start.',
          value: collection?.collector.counts.dropped ?? 0,
        },
      ],
      isReady: () => state.ready,
      timeoutMs: settings.timeoutMs,
      title: settings.service,
      serviceVersion: settings.serviceVersion,
      corsOrigins: settings.corsOrigins,
      log,
    });
    return new ScoringServer({ listener, models, collection, state });
  }

  /** The models with what scores them. */
  get models(): ServedModels {
    return this.#models;
  }

  get port(): number {
    return this.#listener.port;
  }

  /**
   * Takes no more requests, answers those in flight, and makes what was collected durable.
   * @returns whether all was answered in time
   */
  async stop(): Promise<boolean> {
    this.#state.ready = false;
    const complete = await this.#listener.drain(drainTimeoutMs);
    for (const scorer of this.#models.all) scorer.close();
    const durable = (await this.#collection?.close()) ?? true;
    return complete && durable;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
