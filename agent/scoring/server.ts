import type { Logger } from '../../shared/log.ts';
import { acceleratorReadings } from './accelerator/accelerator-readings.ts';
import { ByteBudget } from './byte-budget.ts';
import type { Collection } from './collection.ts';
import type { Figures, Reading } from './figures.ts';
import { startCollection } from './start-collection.ts';
import type { Callers, CallersOptions } from './http/callers.ts';
import { BodyRooms } from './http/body-rooms.ts';
import { Listener } from './http/listener.ts';
import type { SharedListener } from './http/shared-listener.ts';
import type { RouterOptions } from './http/router.ts';
import { ScoringMetrics } from './metrics.ts';
import { ModelRepository, serveModel } from './model-repository.ts';
import { placeScript } from './place-model.ts';
import { ServedModels } from './served-models.ts';
import type { GrpcListener } from './grpc/grpc-listener.ts';
import type { ScoringSettings } from './settings.ts';
import { startTelemetry } from './telemetry/forward-lines.ts';
import type { LogLines } from './telemetry/log-lines.ts';
import { RequestObserver } from './telemetry/request-observer.ts';
import type { Telemetry } from './telemetry/telemetry.ts';

/** What a scoring server needs from the program around it. */
export interface ScoringServerOptions {
  readonly settings: ScoringSettings;
  readonly log: Logger;
  /** Where the log goes, to be sent elsewhere as well. @default it is not sent */
  readonly lines?: LogLines;
  /** The program's main module, which threads start from. */
  readonly entry: URL;
  /** Gives the figures of all threads that listen. @default those of this one */
  readonly gather?: () => Promise<readonly Figures[]>;
}

/** How long requests in flight get to end: below the 10 s after which a container engine kills. */
const drainTimeoutMs = 8_000;

/** How long the last rows get to reach the disk: at least this, and what requests in flight have left of their time. */
const commitTimeoutMs = 1_000;

/** How long the last traces and lines of the log get to be sent. */
const telemetryTimeoutMs = 1_000;

interface Listeners {
  readonly listener: Listener;
  readonly grpc: GrpcListener | undefined;
  /** On a port of its own. */
  readonly health: Listener | undefined;
  /** At a socket that others accept at too. */
  readonly shared: SharedListener | undefined;
}

interface ServerParts extends Listeners {
  readonly telemetry: Telemetry | undefined;
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
   * @throws {FerryError} MODEL_INVALID, PORT_IN_USE, FILE_UNREADABLE
   */
  static async start({ settings, log, lines, entry, gather }: ScoringServerOptions): Promise<ScoringServer> {
    const telemetry = await startTelemetry(settings, log);
    if (telemetry !== undefined) lines?.tell((line) => telemetry.line(line));
    const collection = await startCollection(settings, { log, entry });
    const placing = { settings, log, entry, collection };
    const served = await Promise.all(settings.config.models.map((_, index) => serveModel(index, placing)));
    const models = new ServedModels(served, await placeScript(placing));
    const state = { ready: true };
    const { keysFile, service, limits, logsRequests } = settings;
    const callers = keysFile === undefined ? undefined : await startCallers({ path: keysFile, service, log });
    const metrics = new ScoringMetrics();
    const budget = new ByteBudget(limits.heldBytesMax);
    const figuresOf = (): Figures => ({
      metrics: metrics.snapshot(),
      readings: readingsOf(models, collection, { budget, listeners }),
    });
    const observed = logsRequests || telemetry !== undefined;
    const listeners = await listen(settings, {
      timeoutMs: settings.timeoutMs,
      serviceVersion: settings.serviceVersion,
      corsOrigins: settings.corsOrigins,
      pathPrefix: settings.pathPrefix,
      models,
      metrics,
      gather: gather ?? (() => Promise.resolve([figuresOf()])),
      isReady: () => state.ready && models.all.every(({ accelerator }) => accelerator?.ready ?? true),
      title: service,
      collector: collection?.collector,
      ledger: () => collection?.ledger() ?? [],
      callers,
      repository: settings.sharesPort ? undefined : new ModelRepository(models, placing),
      bodies: { bodyBytesMax: limits.bodyBytesMax, budget, rooms: new BodyRooms() },
      observer: observed ? new RequestObserver({ log, logsRequests, telemetry }) : undefined,
      log,
    });
    return new ScoringServer({ ...listeners, models, callers, collection, telemetry, state, figures: figuresOf });
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

  /** Where gRPC is, if it is. */
  get grpcPort(): number | undefined {
    return this.#parts.grpc?.port;
  }

  /**
   * Takes no more requests, answers those in flight, and makes what was collected durable.
   * @returns whether all was answered and is durable in time
   */
  async stop(): Promise<boolean> {
    const { listener, shared, grpc, health, models, callers, collection, telemetry, state } = this.#parts;
    state.ready = false;
    const drainedByMs = performance.now() + drainTimeoutMs;
    const drained = await Promise.all([
      listener.drain(drainTimeoutMs),
      shared?.drain(drainTimeoutMs) ?? true,
      grpc?.drain(drainTimeoutMs) ?? true,
    ]);
    await health?.drain(0);
    callers?.[Symbol.dispose]();
    models.close();
    const durable = (await collection?.close(commitTimeoutMs + Math.max(0, drainedByMs - performance.now()))) ?? true;
    await telemetry?.close(telemetryTimeoutMs);
    return drained.every(Boolean) && durable;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

async function startCallers(options: CallersOptions): Promise<Callers> {
  const { Callers } = await import('./http/callers.ts');
  return new Callers(options);
}

/** Opens the ports; what a port does not need is not even loaded. */
async function listen(settings: ScoringSettings, answersFrom: Omit<RouterOptions, 'healthOnly'>): Promise<Listeners> {
  const { host, healthPort, grpcPort, limits, tls } = settings;
  const listener = await Listener.start(settings, { ...answersFrom, healthOnly: false });
  const health =
    healthPort === undefined
      ? undefined
      : await Listener.start({ host, port: healthPort, limits }, { ...answersFrom, healthOnly: true });
  const shared = await shareSocket(settings, answersFrom);
  if (grpcPort === undefined) return { listener, health, shared, grpc: undefined };
  const { GrpcListener } = await import('./grpc/grpc-listener.ts');
  return { listener, health, shared, grpc: await GrpcListener.start({ host, port: grpcPort, tls }, answersFrom) };
}

async function shareSocket(
  { sharedSocket, limits, tls }: ScoringSettings,
  answersFrom: Omit<RouterOptions, 'healthOnly'>,
): Promise<SharedListener | undefined> {
  if (sharedSocket === undefined) return undefined;
  const { SharedListener } = await import('./http/shared-listener.ts');
  const onFailure = (err: unknown): void =>
    answersFrom.log.error({ err }, 'cannot accept connections at what it was handed');
  return new SharedListener(sharedSocket, { limits, tls }, { ...answersFrom, healthOnly: false, onFailure });
}

/** Figures of this moment, for metrics. */
function readingsOf(
  models: ServedModels,
  collection: Collection | undefined,
  { budget, listeners }: { readonly budget: ByteBudget; readonly listeners: Listeners },
): Reading[] {
  const { committed = 0, dropped = 0 } = collection?.collector.counts ?? {};
  const open = listeners.listener.exchanges + (listeners.shared?.exchanges ?? 0);
  return [
    { name: 'modelferry_open_requests', help: 'Requests that are read or answered.', value: open },
    { name: 'modelferry_waiting_requests', help: 'Requests that wait for a model.', value: models.waiting },
    { name: 'modelferry_held_bytes', help: 'Bytes of requests that are held.', value: budget.held },
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
    ...acceleratorReadings(models.all),
  ];
}
