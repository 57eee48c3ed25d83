import type { Clock } from '../shared/clock.ts';
import type { ContainerEngine, ContainerState } from '../shared/containers/engine.ts';
import { withDeadline } from '../shared/deadline.ts';
import { FerryError, isFerryError, messageOf } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';
import { type ApplyContext, execute, type OrderedStep } from './apply/executors.ts';
import type { DesiredReading, DesiredState } from './desired-state.ts';
import { Failures } from './failures.ts';
import type { Generations } from './generations.ts';
import type { ModuleWatch } from './module-watch.ts';
import { type CurrentState, type ObservedModule, plan } from './plan.ts';
import { type AskReady, Probation } from './probation.ts';
import type { DesiredStatus } from './report.ts';
import { Stager, type StageImage } from './stager.ts';

/** The settings of a {@link Reconciler}. */
export interface ReconcilerOptions {
  readonly engine: ContainerEngine;
  readonly watch: ModuleWatch;
  readonly generations: Generations;
  readonly askReady: AskReady;
  readonly stageImage: (state: DesiredState, image: string, signal: AbortSignal) => ReturnType<StageImage>;
  readonly modulesFolder: string;
  readonly environmentOf: ApplyContext['environmentOf'];
  /** Is told of every step that was carried out, and how long it took. */
  readonly onStep: (step: OrderedStep, elapsedMs: number) => void;
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
/** The same while modules are being started. */
const lookAtStartEveryMs = 250;
/** The same while a new desired state is on probation. */
const lookOnProbationEveryMs = 1_000;
/** For how long modules count as being started at most, in milliseconds. */
const startingMs = 60_000;
/** Lines of a module's output that go along as evidence when it takes the deployment back. */
const evidenceLines = 3;
/** How long the engine may take to say which containers there are, in milliseconds. */
const listTimeoutMs = 30_000;
/** How long all modules together may take to end when the agent ends, in milliseconds; the agent itself has 10 s. */
const stopAllGraceMs = 7_000;

/**
 * Makes the device what is desired, and keeps it so: looks, plans, does, tells, and waits until something happens.
 *
 * - One step at a time; between two steps a newer desired state wins. Images are staged beside.
 * - A desired state that cannot be read changes nothing: what ran goes on.
 * - One whose modules do not get ready, or end again and again while they are watched, gives way to the one before it.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #stager: Stager;
  readonly #failures = new Failures();
  readonly #restartAsked = new Map<string, PromiseWithResolvers<void>>();
  #desired: DesiredState | undefined;
  #probation: Probation | undefined;
  /** Until when it is looked more often. */
  #startingUntilMs = 0;
  /** Whether what came last is not what is in force, so that what was said of it stays said. */
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

  /** Takes up what was in force when the agent last ran, if anything was. */
  resume(): void {
    const { current, isOnProbation } = this.#options.generations;
    if (current === undefined) return;
    this.#putInForce(current);
    if (!isOnProbation) this.#probation = undefined;
  }

  /** Takes what is desired from now on. @param properties what was read, to be kept over restarts */
  async setDesired(reading: DesiredReading, properties: unknown): Promise<void> {
    const { generations, log } = this.#options;
    if (reading.code !== 200) {
      log.error({ code: reading.code, version: reading.version }, reading.description);
      this.#reject(reading.version, { code: reading.code, description: reading.description });
      return;
    }
    if (reading.ignored.length > 0) {
      log.warn({ fields: reading.ignored }, 'leaving out fields of the deployment that are not known');
    }
    const taking = await generations.take(reading.state, properties);
    if (taking.kind === 'taken') this.#putInForce(reading.state);
    else if (taking.kind === 'kept') this.#keepInForce(reading.state);
    else this.#reject(reading.state.version, { code: 500, description: taking.reason });
  }

  /** Goes on with what is in force, under the version that it has now. */
  #keepInForce(state: DesiredState): void {
    this.#rejected = false;
    this.#desired = state;
    this.#wake.resolve();
  }

  #putInForce(state: DesiredState): void {
    this.#rejected = false;
    this.#desired = state;
    this.#probation = new Probation(this.#options.askReady);
    this.#startingUntilMs = this.#options.clock.monotonicMs() + startingMs;
    this.#failures.clearAll();
    this.#stager.keepOnly(new Set(state.modules.map(({ image }) => image)));
    this.#wake.resolve();
  }

  /** Says of the desired state that came last why it is not in force. */
  #reject(version: number, status: DesiredStatus): void {
    this.#rejected = true;
    this.#lastDesiredVersion = version;
    this.#status = status;
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

  /** Ends all modules. What fails to end is logged and left. */
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
    if (!interrupted) await this.#settle(desired, observedAfter);
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
    const { log, clock, onStep } = this.#options;
    const specs = new Map(desired.modules.map((spec) => [spec.name, spec]));
    const begunMs = clock.monotonicMs();
    try {
      await execute(step, { ...this.#options, specs, staged: this.#stager.staged }, signal);
    } catch (error) {
      if (!signal.aborted) this.#noteFailure(step, error);
      this.#answerRestart(step, error);
      return false;
    }
    onStep(step, clock.monotonicMs() - begunMs);
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
  async #settle(desired: DesiredState, observed: ReadonlyMap<string, ObservedModule>): Promise<void> {
    const { generations, clock, log } = this.#options;
    const verdict = await this.#probation?.look(desired.modules, observed, clock.monotonicMs());
    // A newer one came meanwhile: what was seen says nothing about that.
    if (generations.current !== desired) return;
    if (verdict?.kind !== 'starting') this.#startingUntilMs = 0;
    if (verdict?.kind === 'failed' && generations.hasFallback) return this.#goBack(desired, verdict);
    if (verdict?.kind === 'proven') {
      this.#probation = undefined;
      await generations.commit();
    }
    if (this.#rejected) return;
    const messages = this.#failures.messages();
    if (verdict?.kind === 'failed')
      messages.push(`The module "${verdict.module}" does not run well: ${verdict.reason}`);
    if (messages.length > 0) {
      this.#lastDesiredVersion = desired.version;
      this.#status = { code: 500, description: messages.join('; ') };
    } else if (verdict?.kind !== 'starting' && plan(desired.modules, this.#current(observed)).length === 0) {
      if (this.#lastDesiredVersion !== desired.version || this.#status.code !== 200) {
        log.info({ version: desired.version }, 'the device is as desired');
      }
      await generations.noteReady();
      this.#lastDesiredVersion = desired.version;
      this.#status = { code: 200, description: '' };
    }
  }

  /** Brings the desired state before back, and says why. */
  async #goBack(desired: DesiredState, { module, reason }: { module: string; reason: string }): Promise<void> {
    const { engine, generations, log } = this.#options;
    const output = await engine.logs(module, { tail: evidenceLines }).catch(() => '');
    const evidence = output.trim() === '' ? '' : `; it last said: ${output.trim()}`;
    const description = `Taken back, the deployment before is in force: the module "${module}" does not run well, ${reason}${evidence}`;
    log.error({ version: desired.version, module }, description);
    await generations.goBack(description);
    const { current } = generations;
    if (current !== undefined) this.#putInForce(current);
    this.#reject(desired.version, { code: 500, description });
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
    const isStarting = this.#options.clock.monotonicMs() < this.#startingUntilMs;
    const usualMs = this.#probation === undefined ? lookEveryMs : lookOnProbationEveryMs;
    const everyMs = isStarting && this.#stager.staging.size === 0 ? lookAtStartEveryMs : usualMs;
    const over = new AbortController();
    try {
      await Promise.race([this.#wake.promise, this.#options.clock.sleep(everyMs, over.signal)]);
    } finally {
      over.abort();
    }
  }
}
