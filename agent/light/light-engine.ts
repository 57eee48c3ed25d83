import type {
  ContainerEngine,
  ContainerSpec,
  ContainerState,
  LogSelection,
  StopOptions,
} from '../../shared/containers/engine.ts';
import { FerryError } from '../../shared/errors.ts';
import type { Random } from '../../shared/random.ts';
import { madeFrom } from '../labels.ts';
import { rehearsingModule } from '../rehearsal-spec.ts';
import type { Proof } from '../ask-proof.ts';
import { scoringPort } from '../ask-module.ts';
import type { ModuleSpec } from '../module-spec.ts';
import type { Images } from './profile.ts';
import type { Timeline } from './timeline.ts';

/** The settings of a {@link LightEngine}. */
export interface LightEngineOptions {
  readonly images: Images;
  readonly timeline: Timeline;
  /** The device's own clock, which may be wrong. */
  readonly nowMs: () => number;
  readonly readyMs: number;
  readonly random: Random;
  /** Is called when a container is no longer as it was. */
  readonly onChange: () => void;
}

interface Container {
  readonly spec: ContainerSpec;
  state: ContainerState;
  /** Since when it runs; monotonic. */
  sinceMs: number;
  /** Calls off the end that is before it. */
  callOff?: (() => void) | undefined;
}

/** Shortest and longest that a module runs which crashes again and again, in milliseconds. */
const crashAfterMs = { min: 2_000, max: 40_000 } as const;
/** What Docker gives for a container whose end nobody saw. */
const unseenExitCode = 255;

/** A container engine of a device that is simulated: nothing runs, but all is as if. Each call is done at once. */
export class LightEngine implements ContainerEngine {
  readonly kind = 'process';
  readonly #options: LightEngineOptions;
  readonly #containers = new Map<string, Container>();
  #crashing = false;
  /** How long modules have run that run no more, in milliseconds. */
  #ranMs = 0;
  /** How often a container has ended by itself. */
  crashes = 0;

  constructor(options: LightEngineOptions) {
    this.#options = options;
  }

  /** How long modules have run in all, rehearsals left out, in milliseconds. */
  get ranMs(): number {
    const nowMs = this.#options.timeline.monotonicMs();
    const running = [...this.#containers.values()].filter((container) => isModule(container) && runs(container));
    return this.#ranMs + running.reduce((sum, { sinceMs }) => sum + nowMs - sinceMs, 0);
  }

  async prepareImage(): Promise<void> {}

  async forgetImage(): Promise<void> {}

  async list(): Promise<readonly ContainerState[]> {
    return [...this.#containers.values()].map(({ state }) => state);
  }

  async create(spec: ContainerSpec): Promise<void> {
    if (this.#containers.has(spec.name)) {
      throw new FerryError('ENGINE_FAILED', `Cannot create the container "${spec.name}": there is one of that name`);
    }
    const state: ContainerState = { name: spec.name, labels: spec.labels, status: 'created', exitCode: 0 };
    this.#containers.set(spec.name, { spec, state, sinceMs: 0 });
  }

  async start(name: string): Promise<void> {
    const container = this.#containers.get(name);
    if (container === undefined)
      throw new FerryError('ENGINE_FAILED', `Cannot start the container "${name}": there is none`);
    if (runs(container)) return;
    const { timeline, nowMs, readyMs, onChange } = this.#options;
    container.sinceMs = timeline.monotonicMs();
    const startedAt = new Date(nowMs()).toISOString();
    container.state = { name, labels: container.spec.labels, status: 'running', exitCode: 0, startedAt };
    if (this.#behaviourOf(container) === 'crashes') this.#crashIn(container, readyMs / 2);
    else if (this.#crashing && isModule(container)) this.#crashSoon(container);
    timeline.at(container.sinceMs + readyMs, onChange);
  }

  async stop(name: string, _options: StopOptions): Promise<void> {
    const container = this.#containers.get(name);
    if (container !== undefined && runs(container)) this.#end(container, 0);
  }

  async remove(name: string): Promise<void> {
    this.#containers.get(name)?.callOff?.();
    this.#containers.delete(name);
  }

  async logs(name: string, _selection?: LogSelection): Promise<string> {
    return `the light container "${name}" has nothing to say`;
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Asks a module, or its rehearsal, for proof that it is good, as if by its port. */
  async askProof({ createOptions }: Pick<ModuleSpec, 'createOptions'>): Promise<Proof> {
    const port = portOf(createOptions);
    const container = [...this.#containers.values()].find(
      (container) => runs(container) && portOf(container.spec.settings) === port,
    );
    if (container === undefined) return { kind: 'not yet', reason: 'nobody listens on its port' };
    const ranMs = this.#options.timeline.monotonicMs() - container.sinceMs;
    const behaviour = this.#behaviourOf(container);
    if (ranMs < this.#options.readyMs || behaviour === 'never ready' || behaviour === 'crashes')
      return { kind: 'not yet', reason: 'it says that it is not ready (503)' };
    if (behaviour === 'scores wrong') return { kind: 'wrong', reason: 'it scores its sample wrong' };
    return { kind: 'good', scored: true };
  }

  /** Lets modules end by themselves again and again, or no more. */
  setCrashing(crashing: boolean): void {
    this.#crashing = crashing;
    for (const container of this.#containers.values()) {
      if (!isModule(container) || !runs(container)) continue;
      if (crashing) this.#crashSoon(container);
      else if (this.#behaviourOf(container) !== 'crashes') container.callOff?.();
    }
  }

  /** Ends all that runs as a power cut does. */
  cutPower(): void {
    for (const container of this.#containers.values()) if (runs(container)) this.#end(container, unseenExitCode);
  }

  #crashSoon(container: Container): void {
    this.#crashIn(container, this.#options.random.between(crashAfterMs.min, crashAfterMs.max));
  }

  #crashIn(container: Container, ms: number): void {
    const { timeline, onChange } = this.#options;
    container.callOff?.();
    container.callOff = timeline.at(timeline.monotonicMs() + ms, () => {
      this.crashes += 1;
      this.#end(container, 1);
      onChange();
    });
  }

  #end(container: Container, exitCode: number): void {
    container.callOff?.();
    container.callOff = undefined;
    const { timeline, nowMs } = this.#options;
    if (isModule(container)) this.#ranMs += timeline.monotonicMs() - container.sinceMs;
    const finishedAt = new Date(nowMs()).toISOString();
    container.state = { ...container.state, status: 'exited', exitCode, finishedAt };
  }

  #behaviourOf({ spec }: Container): string {
    return this.#options.images.get(madeFrom(spec.labels).image)?.behaviour ?? 'good';
  }
}

function runs({ state }: Container): boolean {
  return state.status === 'running';
}

function isModule({ spec }: Container): boolean {
  return rehearsingModule(spec.name) === undefined;
}

function portOf(createOptions: ModuleSpec['createOptions']): string | undefined {
  return createOptions.HostConfig?.PortBindings?.[scoringPort]?.[0]?.HostPort;
}
