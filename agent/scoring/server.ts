import type { Logger } from '../../shared/log.ts';
import { Collection } from './collection.ts';
import type { Figures, Reading } from './figures.ts';
import { Callers } from './http/callers.ts';
import { Listener } from './http/listener.ts';
import { ScoringMetrics } from './metrics.ts';
import { placeModel, placeScript } from './place-model.ts';
import { ServedModels } from './served-models.ts';
import type { ScoringSettings } from './settings.ts';

/** What a scoring server needs from the program around it. */
export interface ScoringServerOptions {
  readonly settings: ScoringSettings;
  readonly log: Logger;
  /** The program's main module, which threads start from. */
  readonly entry: URL;
  /** Gives the figures of all threads that listen. @default those of this one */
  readonly gather?: () => Promise<readonly Figures[]>;
}

/** How long requests in flight get to end: below the 10 s after which a container engine kills. */
const drainTimeoutMs = 8_000;

interface ServerParts {
  readonly listener: Listener;
  /** On a port of its own. */
  readonly health: Listener | undefined;
  readonly callers: Callers | undefined;
  readonly models: ServedModels;
  readonly collection: Collection | undefined;
  readonly state: { ready: boolean };
  readonly figures: () => Figures;
}

/** A scoring server that is ready. */
export class ScoringServer implements AsyncDisposable {
  readonly #parts: ServerParts;

  private constructor(parts: ServerParts) {
    this.#parts = parts;
  }

  /**
   * Loads the models and starts to listen.
   * @throws {FerryError} MODEL_INVALID, PORT_IN_USE
   */
  static async start({ settings, log, entry, gather }: ScoringServerOptions): Promise<ScoringServer> {
    const collection = Collection.start(settings, { log, entry });
    const scorers = await Promise.all(
      settings.config.models.map((_, index) => placeModel(index, { settings, log, entry, collection })),
    );
    const models = new ServedModels(scorers, await placeScript({ settings, log, entry, collection }));
    const state = { ready: true };
    const { keysFile, service, healthPort } = settings;
    const callers = keysFile === undefined ? undefined : new Callers({ path: keysFile, service, log });
    const metrics = new ScoringMetrics();
    const figuresOf = (): Figures => ({ metrics: metrics.snapshot(), readings: readingsOf(models, collection) });
    const answersFrom = {
      timeoutMs: settings.timeoutMs,
      serviceVersion: settings.serviceVersion,
      corsOrigins: settings.corsOrigins,
      models,
      metrics,
      gather: gather ?? (() => Promise.resolve([figuresOf()])),
      isReady: () => state.ready,
      title: service,
      collector: collection?.collector,
      callers,
      log,
    };
    const listener = await Listener.start(settings, { ...answersFrom, healthOnly: false });
    const health =
      healthPort === undefined
        ? undefined
        : await Listener.start({ host: settings.host, port: healthPort }, { ...answersFrom, healthOnly: true });
    return new ScoringServer({ listener, health, models, callers, collection, state, figures: figuresOf });
  }

  /** The models with what scores them. */
  get models(): ServedModels {
    return this.#parts.models;
  }

  /** Gives what this thread has counted, and what it holds now. */
  figures(): Figures {
    return this.#parts.figures();
  }

  get port(): number {
    return this.#parts.listener.port;
  }

  /** Where health and metrics are alone, if they are. */
  get healthPort(): number | undefined {
    return this.#parts.health?.port;
  }

  /**
   * Takes no more requests, answers those in flight, and makes what was collected durable.
   * @returns whether all was answered and is durable in time
   */
  async stop(): Promise<boolean> {
    const { listener, health, models, callers, collection, state } = this.#parts;
    state.ready = false;
    const complete = await listener.drain(drainTimeoutMs);
    await health?.drain(0);
    callers?.[Symbol.dispose]();
    models.close();
    const durable = (await collection?.close()) ?? true;
    return complete && durable;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Figures of this moment, for metrics. */
function readingsOf(models: ServedModels, collection: Collection | undefined): Reading[] {
  const { committed = 0, dropped = 0 } = collection?.collector.counts ?? {};
  return [
    { name: 'modelferry_waiting_requests', help: 'Requests that wait for a model.', value: models.waiting },
    {
      name: 'modelferry_collected_rows',
      help: 'Rows that are durable in the buffer since the start.',
      value: committed,
    },
    {
      name: 'modelferry_uncollected_rows',
      help: 'Rows that could not be collected since the start.',
      value: dropped,
    },
  ];
}
