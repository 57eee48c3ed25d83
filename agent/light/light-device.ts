import type { Clock } from '../../shared/clock.ts';
import { parseDeviceConnectionString } from '../../shared/edge/connection-string.ts';
import type { AgentFacts } from '../../shared/edge/reported-agent.ts';
import { createLogger } from '../../shared/log.ts';
import { Random } from '../../shared/random.ts';
import { productVersion } from '../../shared/version.ts';
import { type DesiredReading, readDesired } from '../desired-state.ts';
import { Generations } from '../generations.ts';
import { Hub } from '../hub/hub.ts';
import { answerMethod } from '../methods/answer-method.ts';
import { BackgroundTasks } from '../methods/background-tasks.ts';
import { ModuleWatch } from '../module-watch.ts';
import { type Look, Reconciler } from '../reconciler.ts';
import { Reporting } from '../reporting.ts';
import { LightBuffer } from './light-buffer.ts';
import { LightEngine } from './light-engine.ts';
import { LightNetwork } from './light-network.ts';
import { LightPulls } from './light-pulls.ts';
import { counted, type Link, Traffic } from './link.ts';
import { LookClock } from './look-clock.ts';
import { memoryFiles } from './memory-files.ts';
import type { Images, Profile, Trouble } from './profile.ts';
import type { Timeline } from './timeline.ts';

/** The settings of a {@link LightDevice}. */
export interface LightDeviceOptions {
  readonly profile: Profile;
  readonly images: Images;
  readonly timeline: Timeline;
  /** Gives how it reaches its hub. */
  readonly linkOf: (of: { readonly network: LightNetwork; readonly nowMs: () => number }) => Link;
}

const log = createLogger('light', { level: 'silent' });
/** First port that rehearsals get. */
const rehearsalPortMin = 20_000;
const collecting = 'model';

/**
 * A device without hardware: the agent's own code, from the hub's twin to steps and reports, over an engine in which nothing runs. What a real device
 * keeps on its disk it keeps in memory, over power cuts too.
 */
export class LightDevice {
  readonly #options: LightDeviceOptions;
  readonly #device: ReturnType<typeof parseDeviceConnectionString>;
  readonly #random: Random;
  readonly #network: LightNetwork;
  readonly #engine: LightEngine;
  readonly #pulls: LightPulls;
  readonly #buffer: LightBuffer;
  readonly #traffic = new Traffic();
  readonly #files = memoryFiles();
  readonly #clock: Clock;
  readonly #link: Link;
  #clockOffMs = 0;
  #life: { readonly ending: AbortController; readonly ended: Promise<void>; readonly lookClock: LookClock } | undefined;
  #powerCuts = 0;
  #lastUploadMs: number | undefined;
  #reading: { readonly version: number | undefined; readonly read: DesiredReading } | undefined;

  constructor(options: LightDeviceOptions) {
    const { profile, images, timeline } = options;
    this.#options = options;
    this.#device = parseDeviceConnectionString(profile.connectionString);
    this.#random = new Random(profile.seed);
    const nowMs = (): number => timeline.nowMs() + this.#clockOffMs;
    this.#clock = { ...bound(timeline), nowMs };
    this.#network = new LightNetwork(profile.network, { timeline, random: this.#random });
    this.#pulls = new LightPulls(images, {
      network: this.#network,
      timeline,
      onProgress: () => this.#life?.lookClock.stir(),
    });
    this.#engine = new LightEngine({
      images,
      timeline,
      nowMs,
      readyMs: profile.readyMs,
      random: this.#random,
      onChange: () => this.#life?.lookClock.stir(),
    });
    const [workspace, service, model] = ['fleet/simulated/fleet', 'fleet', collecting];
    this.#buffer = new LightBuffer({ identity: { workspace, service, model, version: 1, designation: 'inputs' } });
    this.#link = options.linkOf({ network: this.#network, nowMs });
    for (const trouble of profile.troubles) this.#schedule(trouble);
    timeline.at(profile.startMs, () => this.#switchOn());
  }

  /** Switches it off, and waits until all has ended. */
  async end(): Promise<void> {
    await this.#switchOff();
    this.#collect();
  }

  /** Says what there is to say of all its lives. */
  summarize() {
    const { collected = 0, uploaded = 0, buffered = 0, dropped = {} } = this.#buffer.ledger.streams[0] ?? {};
    const { tries, connections, patches, throttled, sentBytes, receivedBytes } = this.#traffic;
    return {
      deviceId: this.#device.deviceId,
      rows: { collected, uploaded, buffered, dropped: dropped['disk-full'] ?? 0 },
      troubles: { crashes: this.#engine.crashes, powerCuts: this.#powerCuts },
      retries: {
        connections: tries - connections,
        pulls: this.#pulls.failures,
        uploads: this.#buffer.failures,
        resent: this.#network.resent,
        throttled,
      },
      connections,
      patches,
      bytes: { sent: sentBytes, received: receivedBytes, pulled: this.#pulls.bytes, uploaded: this.#buffer.bytes },
    };
  }

  #schedule({ kind, fromMs, toMs, clockOffMs }: Trouble): void {
    const { timeline } = this.#options;
    const set = (isOn: boolean): void | Promise<void> => {
      if (kind === 'offline') this.#network.set('offline', isOn);
      else if (kind === 'crash') this.#engine.setCrashing(isOn);
      else if (kind === 'disk full') this.#pulls.isDiskFull = isOn;
      else if (kind === 'wrong clock') this.#clockOffMs = isOn ? clockOffMs : 0;
      else if (isOn) this.#cutPower();
      else this.#switchOn();
      // What changes on the device is seen at the next look.
      this.#life?.lookClock.stir();
    };
    timeline.at(fromMs, () => set(true));
    timeline.at(toMs, () => set(false));
  }

  #switchOn(): void {
    if (this.#life !== undefined) return;
    const ending = new AbortController();
    const lookClock = new LookClock(this.#clock);
    this.#life = { ending, lookClock, ended: this.#live(lookClock, ending.signal) };
  }

  #cutPower(): void {
    if (this.#life === undefined) return;
    this.#powerCuts += 1;
    this.#collect();
    this.#engine.cutPower();
    void this.#switchOff();
  }

  async #switchOff(): Promise<void> {
    const life = this.#life;
    this.#life = undefined;
    life?.ending.abort();
    await life?.ended;
  }

  /** One life of its agent, from when it is switched on. */
  async #live(lookClock: LookClock, signal: AbortSignal): Promise<void> {
    const [clock, engine] = [this.#clock, this.#engine];
    const watch = await ModuleWatch.open('/light/modules.json', this.#files);
    const generations = await Generations.open('/light/desired.json', this.#device.deviceId, this.#files);
    const reporting = new Reporting({
      agentStartedAt: new Date(clock.nowMs()).toISOString(),
      agentVersion: productVersion,
      pulls: () => this.#pulls.running,
      facts: () => this.#facts(hub),
      send: (report) => hub.report(report),
    });
    const reconciler = new Reconciler({
      engine,
      watch,
      generations,
      askProof: (spec) => engine.askProof(spec),
      askRequests: async () => undefined,
      freeMemoryBytes: () => Number.MAX_SAFE_INTEGER,
      stageImage: (_state, image, stageSignal) => this.#pulls.pull(image, stageSignal),
      places: this.#places(),
      environmentOf: () => ({}),
      onStep: () => undefined,
      onLook: (look) => {
        lookClock.isQuiet = isQuiet(look);
        reporting.noteLook(look);
      },
      clock: lookClock,
      log,
    });
    const hub: Hub = new Hub({
      device: this.#device,
      knownToHub: true,
      onDesired: (desired) => {
        lookClock.isQuiet = false;
        return reconciler.setDesired(this.#readDesired(desired), desired);
      },
      onMethod: this.#methods({ generations, reconciler, reporting }, signal),
      openSession: counted(this.#link.openSession, this.#traffic),
      measureClockSkew: this.#link.measureClockSkew,
      onClockSkew: () => reporting.noteFacts(),
      random: () => this.#random.fraction(),
      clock,
      log,
    });
    reconciler.resume();
    await Promise.all([reconciler.run(signal), hub.run(signal), this.#uploadUntil(reporting, signal)]);
  }

  /** Reads what is desired, once of each version: a link that comes and goes brings the same again and again. */
  #readDesired(desired: unknown): DesiredReading {
    const version = isVersioned(desired) ? desired.$version : undefined;
    const before = this.#reading;
    if (before === undefined || before.version !== version) {
      const read = readDesired(desired);
      this.#reading = { version, read };
      return read;
    }
    const { read } = before;
    return read.code === 200 ? { ...read, state: { ...read.state } } : read;
  }

  #facts(hub: Hub): AgentFacts {
    const { clockSkewMs } = hub.connection;
    return {
      ...(clockSkewMs === undefined ? {} : { clockSkewSeconds: Math.round(clockSkewMs / 1000) }),
      ...(this.#lastUploadMs === undefined ? {} : { lastUploadUtc: new Date(this.#lastUploadMs).toISOString() }),
    };
  }

  #places() {
    let port = rehearsalPortMin;
    return {
      makeDataFolder: async (container: string) => `/light/${container}/data`,
      removeFolder: async () => undefined,
      freePort: async () => (port += 1),
    };
  }

  #methods(
    parts: { readonly generations: Generations; readonly reconciler: Reconciler; readonly reporting: Reporting },
    signal: AbortSignal,
  ): ConstructorParameters<typeof Hub>[0]['onMethod'] {
    const { generations, reconciler, reporting } = parts;
    const context = {
      hub: this.#device.hostName,
      deviceId: this.#device.deviceId,
      engine: this.#engine,
      restart: (module: string, methodSignal: AbortSignal) => reconciler.restart(module, methodSignal),
      specOf: (module: string) => generations.current?.modules.find(({ name }) => name === module),
      report: () => reporting.report,
      tasks: new BackgroundTasks(signal),
      modulesFolder: '/light',
      clock: this.#clock,
    };
    return (request, response) => {
      void answerMethod(request.methodName, request.payload, context).then(({ status, payload }) =>
        response.send(status, payload, () => undefined),
      );
    };
  }

  /** Sends what is collected, at its interval. A failure leaves it to the next one. */
  async #uploadUntil(reporting: Reporting, signal: AbortSignal): Promise<void> {
    const { profile, timeline } = this.#options;
    const { uploadEveryMs, uploadFirstMs } = profile;
    while (!signal.aborted) {
      const sinceFirst = Math.max(0, timeline.monotonicMs() - uploadFirstMs);
      const nextMs = uploadFirstMs + (Math.floor(sinceFirst / uploadEveryMs) + 1) * uploadEveryMs;
      await timeline.sleep(nextMs - timeline.monotonicMs(), signal).catch(() => undefined);
      if (signal.aborted) return;
      this.#collect();
      const day = new Date(this.#clock.nowMs()).toISOString().slice(0, 10).replaceAll('-', '/');
      try {
        if ((await this.#buffer.drain(this.#link.destination, day, signal)) > 0)
          this.#lastUploadMs = this.#clock.nowMs();
      } catch {
        // Counted where it happened.
      }
      if (this.#buffer.ledger.streams.length > 0) reporting.noteLedger(collecting, this.#buffer.ledger);
    }
  }

  /** Puts into the buffer what the modules have scored since. */
  #collect(): void {
    const rows = Math.floor((this.#engine.ranMs / 3_600_000) * this.#options.profile.rowsPerHour);
    this.#buffer.collectTo(rows, { isDiskFull: this.#pulls.isDiskFull });
  }
}

/**
 * Says whether looks see the same again until something happens: nothing has failed and waits to be tried again, and no module is watched because
 * it has ended.
 */
function isQuiet({ status, observed }: Look): boolean {
  if (status.code === 500) return false;
  return [...observed.values()].every(({ status, restartCount }) => status === 'running' && restartCount === 0);
}

function isVersioned(desired: unknown): desired is { readonly $version: number } {
  return typeof desired === 'object' && desired !== null && '$version' in desired;
}

function bound(timeline: Timeline): Clock {
  return {
    nowMs: () => timeline.nowMs(),
    monotonicMs: () => timeline.monotonicMs(),
    sleep: (ms, signal) => timeline.sleep(ms, signal),
  };
}
