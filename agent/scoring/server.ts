import { join } from 'node:path';
import type { Logger } from '../../shared/log.ts';
import { bufferFileName } from '../collect/buffer-file.ts';
import { Collector } from '../collect/collector.ts';
import { type CommitThread, startCommitThread } from '../collect/commit-thread.ts';
import { Listener } from './http/listener.ts';
import { InlineScorer } from './inline-scorer.ts';
import { ScoringMetrics } from './metrics.ts';
import { OnnxModel } from './model/onnx-model.ts';
import { hasRowDimension } from './model/rows.ts';
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

/** How long the last rows get to reach the disk, after that. */
const commitTimeoutMs = 1_500;

/** Requests that may wait for a model on one thread. */
const waitingMax = 1024;

/** Rows of one run that several requests share. */
const batchRowsMax = 256;

/** Bytes that a device gives to rows which wait for upload. */
const bufferBytesMax = 1024 * 1024 * 1024;

/** A scoring server that is ready. */
export class ScoringServer implements AsyncDisposable {
  readonly #listener: Listener;
  readonly #collection: Collection | undefined;
  readonly #state: { ready: boolean };

  private constructor(listener: Listener, collection: Collection | undefined, state: { ready: boolean }) {
    this.#listener = listener;
    this.#collection = collection;
    this.#state = state;
  }

  /**
   * Loads the models and starts to listen.
   * @throws {FerryError} MODEL_INVALID, PORT_IN_USE
   */
  static async start({ settings, log, entry }: ScoringServerOptions): Promise<ScoringServer> {
    const collection = settings.collectInto === undefined ? undefined : startCollection(settings, { log, entry });
    const scorers = await Promise.all(
      settings.config.models.map(async (model) => {
        const loaded = await OnnxModel.load(join(settings.root, model.path), model);
        const batching = { sharesRuns: hasRowDimension(model.signature), waitingMax, rowsMax: batchRowsMax };
        return new InlineScorer(loaded, { batching, collector: collection?.collector });
      }),
    );
    const state = { ready: true };
    const listener = await Listener.start(settings, {
      models: new ServedModels(scorers),
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
    return new ScoringServer(listener, collection, state);
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
    const durable = (await this.#collection?.collector.close(commitTimeoutMs)) ?? true;
    await this.#collection?.thread.stop();
    return complete && durable;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

interface Collection {
  readonly collector: Collector;
  readonly thread: CommitThread;
}

function startCollection(settings: ScoringSettings, { log, entry }: { log: Logger; entry: URL }): Collection {
  const thread = startCommitThread({
    entry,
    databasePath: join(settings.collectInto ?? '.', bufferFileName),
    quota: { bytesMax: bufferBytesMax, policy: 'drop-oldest' },
    onFailure: (reason) => log.error({ reason }, 'could not write to the collection buffer; it is tried again'),
  });
  const { workspace, service } = settings;
  return { collector: new Collector({ channel: thread, workspace, service }), thread };
}
