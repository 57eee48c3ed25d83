import type { Clock } from '../shared/clock.ts';
import type { ContainerEngine, ContainerState } from '../shared/containers/engine.ts';
import { withDeadline } from '../shared/deadline.ts';
import { FerryError, isFerryError, messageOf } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';
import { type ApplyContext, execute, type OrderedStep } from './apply/executors.ts';
import type { DesiredReading, DesiredState } from './desired-state.ts';
import { Failures } from './failures.ts';
import type { ModuleWatch } from './module-watch.ts';
import { type CurrentState, type ObservedModule, plan } from './plan.ts';
import type { DesiredStatus } from './report.ts';
import { Stager, type StageImage } from './stager.ts';

/** The settings of a {@link Reconciler}. */
export interface ReconcilerOptions {
  readonly engine: ContainerEngine;
  readonly watch: ModuleWatch;
  readonly stageImage: (state: DesiredState, image: string, signal: AbortSignal) => ReturnType<StageImage>;
  readonly modulesFolder: string;
  readonly environmentOf: ApplyContext['environmentOf'];
  /** Is told how things are after every look. */
  readonly onLook: (look: Look) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How things are. */
export interface Look {
  /** `$version` of the last desired state that was tried to its end. */
  readonly lastDesiredVersion: number;
  readonly status: DesiredStatus;
  readonly desired: DesiredState | undefined;
  readonly containers: readonly ContainerState[];
  readonly observed: ReadonlyMap<string, ObservedModule>;
}

/** How often it is looked how modules are, in milliseconds (IoT Edge's reconcile interval). */
const lookEveryMs = 5_000;
/** How long the engine may take to say which containers there are, in milliseconds. */
const listTimeoutMs = 30_000;
/** How long all modules together may take to end when the agent ends, in milliseconds; the agent itself has 10 s. */
const stopAllGraceMs = 7_000;

/**
 * Makes the device what is desired, and keeps it so: looks, plans, does, tells, and waits until something happens.
 *
 * - One step at a time; between two steps a newer desired state wins. Images are staged beside.
 * - A desired state that cannot be read changes nothing: what ran goes on.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #stager: Stager;
  readonly #failures = new Failures();
  readonly #restartAsked = new Map<string, PromiseWithResolvers<void>>();
  #desired: DesiredState | undefined;
  /** Whether what came last could not be read, so that what it said of it stays said. */
  #rejected = false;
  #lastDesiredVersion = 0;
  #status: DesiredStatus = { code: 406, description: 'The agent has not reached the hub yet' };
  #wake = Promise.withResolvers<void>();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#stager = new Stager({
      log: options.log,
      stageImage: async (image, signal) => {
        if (this.#desired === undefined) throw new Error('Nothing is desired');
        return options.stageImage(this.#desired, image, signal);
      },
      onEnd: ({ image, error }) => {
        if (error === undefined) this.#failures.clear({ kind: 'stage', image });
        else this.#noteFailure({ kind: 'stage', image }, error);
        this.#wake.resolve();
      },
    });
  }

  /** Takes what is desired from now on. */
  setDesired(reading: DesiredReading): void {
    this.#rejected = reading.code !== 200;
    if (reading.code !== 200) {
      this.#options.log.error({ code: reading.code, version: reading.version }, reading.description);
      this.#lastDesiredVersion = reading.version;
      this.#status = { code: reading.code, description: reading.description };
    } else {
      if (reading.ignored.length > 0) {
        this.#options.log.warn({ fields: reading.ignored }, 'leaving out fields of the deployment that are not known');
      }
      this.#desired = reading.state;
      this.#failures.clearAll();
      this.#stager.keepOnly(new Set(reading.state.modules.map(({ image }) => image)));
    }
    this.#wake.resolve();
  }

  /**
   * Starts a module anew and comes back when it is.
   * @throws {FerryError} SERVICE_NOT_FOUND when there is no such module
   */
  async restart(module: string, signal: AbortSignal): Promise<void> {
    if (!this.#desired?.modules.some(({ name }) => name === module)) {
      throw new FerryError(
        'SERVICE_NOT_FOUND',
        `Cannot restart the module "${module}": the deployment has none of that name`,
      );
    }
    const asked = this.#restartAsked.get(module) ?? Promise.withResolvers<void>();
    this.#restartAsked.set(module, asked);
    this.#wake.resolve();
    await withDeadline({ doing: `restart the module "${module}"`, timeoutMs: 60_000, signal }, () => asked.promise);
  }

  /** Works until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#wake.resolve(), { once: true });
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers();
      try {
        await this.#round(signal);
      } catch (error) {
        if (signal.aborted) break;
        // The engine does not answer: what runs goes on by itself, and the next look may go well.
        this.#options.log.error({ why: messageOf(error) }, 'could not look how the modules are');
      }
      await this.#waitForNext();
    }
    await this.#stager[Symbol.asyncDispose]();
  }

  /** Ends all modules, and tells how things are then. What fails to end is logged and left. */
  async stopAll(): Promise<void> {
    const { engine, log, watch } = this.#options;
    const running = (await this.#list()).filter(({ status }) => status === 'running');
    await Promise.all(
      running.map(async ({ name }) => {
        try {
          await engine.stop(name, { graceMs: stopAllGraceMs });
          watch.noteStopped(name);
        } catch (error) {
          log.error({ module: name, why: messageOf(error) }, 'could not stop the module');
        }
      }),
    );
    await watch.save();
  }

  /** Tells how things are as the agent ends: IoT Edge's code for that is 406. */
  async tellEnd(): Promise<void> {
    this.#status = { code: 406, description: 'Agent is not running' };
    const containers = await this.#list();
    this.#tell(containers, this.#options.watch.observe(containers, this.#options.clock.monotonicMs()));
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { watch, clock } = this.#options;
    const containers = await this.#list(signal);
    const observed = watch.observe(containers, clock.monotonicMs());
    const desired = this.#desired;
    if (desired === undefined) return this.#tell(containers, observed);
    const steps = plan(desired.modules, this.#current(observed));
    let interrupted = false;
    const given = new Set<string>();
    for (const step of steps) {
      if (this.#desired !== desired || signal.aborted) {
        interrupted = true;
        break;
      }
      if (step.kind === 'stage') this.#stager.begin(step.image);
      else if (!given.has(step.module) && !(await this.#tryStep(step, desired, signal))) given.add(step.module);
    }
    await watch.save();
    const after = steps.some(({ kind }) => kind !== 'stage') ? await this.#list(signal) : containers;
    const observedAfter = watch.observe(after, clock.monotonicMs());
    if (!interrupted) this.#settle(desired, observedAfter);
    this.#tell(after, observedAfter);
  }

  #current(observed: ReadonlyMap<string, ObservedModule>): CurrentState {
    return {
      modules: observed,
      staged: new Set(this.#stager.staged.keys()),
      staging: this.#stager.staging,
      coolingOff: this.#failures.coolingOff(this.#options.clock.monotonicMs()),
      restartAsked: new Set(this.#restartAsked.keys()),
    };
  }

  /** Carries out a step and says whether it went well. */
  async #tryStep(step: OrderedStep, desired: DesiredState, signal: AbortSignal): Promise<boolean> {
    const { engine, watch, modulesFolder, environmentOf, log } = this.#options;
    const specs = new Map(desired.modules.map((spec) => [spec.name, spec]));
    try {
      await execute(step, { engine, watch, specs, staged: this.#stager.staged, modulesFolder, environmentOf }, signal);
    } catch (error) {
      if (!signal.aborted) this.#noteFailure(step, error);
      this.#answerRestart(step, error);
      return false;
    }
    log.info({ ...step }, `module ${step.kind} done`);
    this.#failures.clear(step);
    if (step.kind === 'start') this.#answerRestart(step);
    return true;
  }

  #answerRestart({ module }: OrderedStep, error?: unknown): void {
    const asked = this.#restartAsked.get(module);
    this.#restartAsked.delete(module);
    if (error === undefined) asked?.resolve();
    else asked?.reject(error);
  }

  #noteFailure(step: Parameters<Failures['add']>[0], error: unknown): void {
    const retryInMs = this.#failures.add(step, error, this.#options.clock.monotonicMs());
    const code = isFerryError(error) ? error.code : undefined;
    this.#options.log.error({ ...step, code, retryInMs }, messageOf(error));
  }

  /** Decides how carrying out the desired state went, once there is something to say. */
  #settle(desired: DesiredState, observed: ReadonlyMap<string, ObservedModule>): void {
    if (this.#rejected) return;
    const messages = this.#failures.messages();
    if (messages.length > 0) {
      this.#lastDesiredVersion = desired.version;
      this.#status = { code: 500, description: messages.join('; ') };
    } else if (plan(desired.modules, this.#current(observed)).length === 0 && this.#stager.staging.size === 0) {
      if (this.#lastDesiredVersion !== desired.version || this.#status.code !== 200) {
        this.#options.log.info({ version: desired.version }, 'the device is as desired');
      }
      this.#lastDesiredVersion = desired.version;
      this.#status = { code: 200, description: '' };
    }
  }

  #tell(containers: readonly ContainerState[], observed: ReadonlyMap<string, ObservedModule>): void {
    this.#options.onLook({
      lastDesiredVersion: this.#lastDesiredVersion,
      status: this.#status,
      desired: this.#desired,
      containers,
      observed,
    });
  }

  #list(signal?: AbortSignal): Promise<readonly ContainerState[]> {
    const deadline = {
      doing: 'list the containers',
      timeoutMs: listTimeoutMs,
      ...(signal === undefined ? {} : { signal }),
    };
    return withDeadline(deadline, (listSignal) => this.#options.engine.list(listSignal));
  }

  async #waitForNext(): Promise<void> {
    const over = new AbortController();
    try {
      await Promise.race([this.#wake.promise, this.#options.clock.sleep(lookEveryMs, over.signal)]);
    } finally {
      over.abort();
    }
  }
}
