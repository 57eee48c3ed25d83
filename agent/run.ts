import { freemem } from 'node:os';
import { systemClock } from '../shared/clock.ts';
import { openEngine } from '../shared/containers/open-engine.ts';
import type { ContainerEngine } from '../shared/containers/engine.ts';
import type { DeviceConnectionString } from '../shared/edge/connection-string.ts';
import { messageOf } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';
import type { LayoutStore } from '../shared/oci/layout-store.ts';
import { askRequests } from './ask-requests.ts';
import { agentFacts } from './agent-facts.ts';
import { AgentState } from './agent-state.ts';
import { placesOnDisk } from './apply/module-places.ts';
import { readDesired } from './desired-state.ts';
import { Generations } from './generations.ts';
import type { DeviceCertificate, DeviceIdentity } from './hub/device-identity.ts';
import { HubFileUpload } from './hub/file-upload.ts';
import { Hub } from './hub/hub.ts';
import type { SessionHandlers } from './hub/hub-session.ts';
import { ModuleIdentities } from './hub/module-identities.ts';
import { BandwidthLimit } from './images/bandwidth-limit.ts';
import { type ClearImagesOptions, clearImagesDaily } from './images/clear-images.ts';
import { ImageStore } from './images/image-store.ts';
import { ImageUsage } from './images/image-usage.ts';
import { imageStaging } from './images/image-staging.ts';
import { answerMethod } from './methods/answer-method.ts';
import { BackgroundTasks } from './methods/background-tasks.ts';
import type { MethodContext } from './methods/method.ts';
import { ModuleWatch } from './module-watch.ts';
import { provingBySample } from './proving-by-sample.ts';
import { Reconciler } from './reconciler.ts';
import { Reporting } from './reporting.ts';
import { type WatchScoringOptions, watchScoring } from './scoring-watch.ts';
import { readAgentStatus, type StatusSources } from './status/agent-status.ts';
import { Figures } from './status/figures.ts';
import { openStatusServer, type StatusServerOptions } from './status/status-server.ts';
import { type Drain, type UploadOptions, type UploadRecord, uploadAll, uploadEvery } from './upload-timer.ts';

/** The settings of {@link runAgent}. */
export interface RunOptions {
  readonly device: DeviceConnectionString;
  /** What the device signs in with where it has no key. */
  readonly certificate?: DeviceCertificate;
  /** Folder of the agent's own; two agents never share one. */
  readonly stateFolder: string;
  readonly engine: 'auto' | 'docker' | 'process';
  /** Lets modules run on when the agent ends. */
  readonly keepModules: boolean;
  /** How often collected rows are sent, in milliseconds. */
  readonly uploadEveryMs: number;
  /** Where health and metrics are served to other machines. @default nowhere */
  readonly metricsAddress?: StatusServerOptions['metricsAddress'];
  /** What all pulls together may take of the link. @default all of it */
  readonly pullBytesPerSecond?: number;
  readonly version: string;
  readonly log: Logger;
}

/** Network that modules find each other in; IoT Edge's. */
const network = 'azure-iot-edge';
/** How long sending the rest of the collected rows may take when the agent ends, in milliseconds. */
const lastUploadMaxMs = 2_000;

/**
 * Runs the agent until the signal is aborted: first what was last good, from the device's own disk, then what the hub says.
 * @throws {FerryError} HUB_UNAUTHORIZED when the hub refuses a device that it has never let in
 * @throws {FerryError} ENGINE_FAILED when the engine that is wanted does not answer
 * @throws {FerryError} IN_USE when another agent runs on the same folder
 */
export async function runAgent(options: RunOptions, signal: AbortSignal): Promise<void> {
  const state = await AgentState.open(options.stateFolder);
  await state.whileAlone(() => runAlone(options, state, signal));
}

async function runAlone(options: RunOptions, state: AgentState, signal: AbortSignal): Promise<void> {
  const { device, log } = options;
  const agentStartedAt = new Date().toISOString();
  const images = await openImages(options, state);
  await using engine = await openOwnEngine(options, state, images.layout);
  const watch = await ModuleWatch.open(state.watchFile);
  const usage = await ImageUsage.open(state.imageUsageFile);
  const generations = await Generations.open(state.desiredFile, device.deviceId);

  const clearing = { engine, images, usage, clock: systemClock, log };
  const figures = new Figures();
  const uploads = new Map<string, UploadRecord>();
  const reporting = new Reporting({
    agentStartedAt,
    agentVersion: options.version,
    pulls: () => images.pulls,
    facts: () => agentFacts(hub.connection.clockSkewMs, uploads),
    send: (report) => hub.report(report),
  });
  const identities = new ModuleIdentities({
    identity: await identityOf(options, state),
    hubNowMs: () => systemClock.nowMs() - (hub.connection.clockSkewMs ?? 0),
    clock: systemClock,
    log,
  });
  const reconciler = new Reconciler({
    engine,
    watch,
    generations,
    askProof: provingBySample(images.layout),
    askRequests,
    freeMemoryBytes: freemem,
    stageImage: imageStaging(clearing),
    places: placesOnDisk(state.modulesFolder),
    environmentOf: (module) => identities.environmentOf(module),
    onStep: (step, elapsedMs) => figures.noteStep(step, elapsedMs),
    onLook: (look) => {
      figures.noteLook(look, systemClock.monotonicMs());
      reporting.noteLook(look);
    },
    clock: systemClock,
    log,
  });
  const hub = new Hub({
    device,
    agentKey: (keySignal) => identities.agentKey(keySignal),
    knownToHub: generations.current !== undefined,
    onClockSkew: () => reporting.noteFacts(),
    onDesired: (desired) => takeDesired(desired, { reconciler, generations, identities }),
    onMethod: methodHandler(methodContext({ device, state, engine, generations, reconciler, reporting }, signal), {
      figures,
      log,
    }),
    clock: systemClock,
    log,
  });
  reconciler.resume();
  const sources = {
    engine: engine.kind,
    startedAt: agentStartedAt,
    connection: () => hub.connection,
    generations,
    look: () => reporting.look,
    pulls: () => images.pulls,
    uploads: () => [...uploads.values()],
    collection: () => reporting.ledgers.all,
  };
  await using _status = await openStatus(options, { state, figures, sources });
  await workUntil(signal, {
    options,
    state,
    reconciler,
    hub,
    identities,
    clearing,
    onUpload: (record) => uploads.set(record.module, record),
    onDrained: (module, databasePath) => reporting.noteDrain(module, databasePath),
    onFigures: (found) => reporting.noteScoring(found),
    specs: () => generations.current?.modules ?? [],
  });
}

/** Opens the device's own images, pulled no faster than is allowed. */
function openImages({ pullBytesPerSecond, log }: RunOptions, state: AgentState): Promise<ImageStore> {
  const limit = pullBytesPerSecond === undefined ? {} : { limit: new BandwidthLimit(pullBytesPerSecond, systemClock) };
  return ImageStore.open(state.imagesFolder, { clock: systemClock, log, ...limit });
}

/** Says which device this is. One with a certificate has a secret of its own that its modules' keys follow from. */
async function identityOf({ device, certificate }: RunOptions, state: AgentState): Promise<DeviceIdentity> {
  const moduleSecret = device.sharedAccessKey ?? (await state.readModuleSecret());
  return { device, moduleSecret, ...(certificate === undefined ? {} : { certificate }) };
}

/** Takes what the hub desires, and sees to it that its modules have identities. */
async function takeDesired(
  desired: unknown,
  parts: {
    readonly reconciler: Reconciler;
    readonly generations: Generations;
    readonly identities: ModuleIdentities;
  },
): Promise<void> {
  const reading = readDesired(desired);
  await parts.reconciler.setDesired(reading, desired);
  if (reading.code !== 200) return;
  // Also of what runs on where the new one was taken back.
  const modules = [...reading.state.modules, ...(parts.generations.current?.modules ?? [])];
  parts.identities.want(modules.map(({ name }) => name));
}

/** Begins to tell on the device itself how the agent is. */
function openStatus(
  { version, device, metricsAddress, log }: RunOptions,
  parts: {
    readonly state: AgentState;
    readonly figures: Figures;
    readonly sources: Omit<StatusSources, 'version' | 'deviceId' | 'hub' | 'stateFolder'>;
  },
): Promise<AsyncDisposable> {
  const { state, figures, sources } = parts;
  const { deviceId, hostName: hub } = device;
  return openStatusServer({
    socketPath: state.statusSocket,
    ...(metricsAddress === undefined ? {} : { metricsAddress }),
    read: () => readAgentStatus({ ...sources, version, deviceId, hub, stateFolder: state.folder }),
    figures,
    log,
  });
}

/** The parts that work at the same time. */
interface Parts {
  readonly options: RunOptions;
  readonly state: AgentState;
  readonly reconciler: Reconciler;
  readonly hub: Hub;
  readonly identities: ModuleIdentities;
  readonly clearing: ClearImagesOptions;
  readonly onUpload: UploadOptions['onUpload'];
  readonly onDrained: UploadOptions['onDrained'];
  readonly onFigures: WatchScoringOptions['onFigures'];
  readonly specs: WatchScoringOptions['modules'];
}

async function workUntil(signal: AbortSignal, parts: Parts): Promise<void> {
  const { options, state, reconciler, hub, identities, clearing, onUpload, onDrained, onFigures, specs } = parts;
  const { log } = options;
  // The hub goes on a little longer than the rest, to take the last report.
  const work = new AbortController();
  const link = new AbortController();
  const stop = (): void => work.abort();
  signal.addEventListener('abort', stop, { once: true });
  const upload = {
    modulesFolder: state.modulesFolder,
    destination: new HubFileUpload(options.device, options.certificate),
    drain: drainRows,
    onUpload,
    onDrained,
    log,
  };
  let refusal: unknown;
  const linked = hub.run(link.signal).catch((error: unknown) => {
    refusal = error;
    work.abort();
  });
  await Promise.all([
    reconciler.run(work.signal),
    identities.run(work.signal),
    clearImagesDaily(clearing, work.signal),
    watchScoring({ modules: specs, onFigures, clock: systemClock, signal: work.signal }),
    uploadEvery({ ...upload, everyMs: options.uploadEveryMs, clock: systemClock, signal: work.signal }),
  ]);
  if (refusal === undefined) {
    log.info('ending');
    if (!options.keepModules) await reconciler.stopAll();
    await uploadAll({ ...upload, signal: AbortSignal.timeout(lastUploadMaxMs) });
    await reconciler.tellEnd();
    await hub.flush(AbortSignal.timeout(lastUploadMaxMs)).catch((error: unknown) => {
      log.warn({ why: messageOf(error) }, 'the hub does not know that the agent has ended');
    });
  }
  link.abort();
  await linked;
  if (refusal !== undefined) throw refusal;
}

/** Opens the engine that is wanted; what `auto` once chose stays chosen, because the modules are there. */
async function openOwnEngine(options: RunOptions, state: AgentState, layout: LayoutStore): Promise<ContainerEngine> {
  const { log } = options;
  const identity = await state.readIdentity();
  const wanted = options.engine === 'auto' ? (identity.engine ?? 'auto') : options.engine;
  const engine = await openEngine({
    engine: wanted,
    layout,
    folder: state.folder,
    owner: identity.owner,
    network,
    log,
  });
  if (identity.engine !== engine.kind) await state.writeIdentity({ ...identity, engine: engine.kind });
  log.info({ engine: engine.kind, state: state.folder }, 'the agent is up');
  return engine;
}

function methodContext(
  parts: {
    readonly device: DeviceConnectionString;
    readonly state: AgentState;
    readonly engine: ContainerEngine;
    readonly generations: Generations;
    readonly reconciler: Reconciler;
    readonly reporting: Reporting;
  },
  signal: AbortSignal,
): MethodContext {
  const { device, state, engine, generations, reconciler, reporting } = parts;
  return {
    hub: device.hostName,
    deviceId: device.deviceId,
    engine,
    restart: (module, methodSignal) => reconciler.restart(module, methodSignal),
    specOf: (module) => generations.current?.modules.find(({ name }) => name === module),
    report: () => reporting.report,
    tasks: new BackgroundTasks(signal),
    modulesFolder: state.modulesFolder,
    clock: systemClock,
  };
}

function methodHandler(
  context: MethodContext,
  { figures, log }: { readonly figures: Figures; readonly log: Logger },
): SessionHandlers['onMethod'] {
  const answer = async (...[request, response]: Parameters<SessionHandlers['onMethod']>): Promise<void> => {
    const { status, payload } = await answerMethod(request.methodName, request.payload, context);
    figures.noteMethod(request.methodName);
    log.info({ method: request.methodName, status }, 'answered a direct method');
    response.send(status, payload, (error) => {
      // The caller may be gone by now.
      if (error) log.warn({ why: error.message }, 'the answer to a direct method did not arrive');
    });
  };
  return (request, response) => void answer(request, response);
}

const drainRows: Drain = async (databasePath, destination, signal) => {
  // Loaded when there is first something to send: SQLite is a native library.
  const { drainBuffer } = await import('./collect/uploader.ts');
  return (await drainBuffer({ databasePath, destination, seal: 'all', signal })).rows;
};
