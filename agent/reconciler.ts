import type { ContainerState } from '../shared/containers/engine.ts';
import { withDeadline } from '../shared/deadline.ts';
import { FerryError, isFerryError, messageOf } from '../shared/errors.ts';
import { type ApplyContext, execute, type OrderedStep } from './apply/executors.ts';
import { stopModules } from './apply/stop-modules.ts';
import type { DesiredReading, DesiredState } from './desired-state.ts';
import { Failures } from './failures.ts';
import { type Device, lookAtDevice } from './device-look.ts';
import type { ModuleWatch } from './module-watch.ts';
import { type CurrentState, type ObservedModule, plan } from './plan.ts';
import { Rehearsals } from './rehearsals.ts';
import { roomlessModules } from './rehearsal-room.ts';
import type { DesiredStatus } from './report.ts';
import { RestartRequests } from './restart-requests.ts';
import { Stager, type StageImage } from './stager.ts';
import { Trial, type TrialOptions, type TrialOutcome } from './trial.ts';

/** The settings of a {@link Reconciler}. */
export interface ReconcilerOptions extends TrialOptions {
  readonly watch: ModuleWatch;
  readonly stageImage: (state: DesiredState, image: string, signal: AbortSignal) => ReturnType<StageImage>;
  readonly places: ApplyContext['places'];
  readonly environmentOf: ApplyContext['environmentOf'];
  /** Is told of every step that was carried out, and how long it took. */
  readonly onStep: (step: OrderedStep, elapsedMs: number) => void;
  /** Is told how things are after every look. */
  readonly onLook: (look: Look) => void;
  /** Gives the memory that is free, in bytes. */
  readonly freeMemoryBytes: () => number;
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

/** How long the engine may take to say which containers there are, in milliseconds. */
const listTimeoutMs = 30_000;

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
  readonly #restarts = new RestartRequests();
  readonly #trial: Trial;
  readonly #rehearsals: Rehearsals;
  #desired: DesiredState | undefined;
  /** Whether what came last is not what is in force, so that what was said of it stays said. */
  #rejected = false;
  #lastDesiredVersion = 0;
  #status: DesiredStatus = { code: 406, description: 'The agent has not reached the hub yet' };
  #wake = Promise.withResolvers<void>();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#trial = new Trial(options);
    this.#rehearsals = new Rehearsals({ ...options, onEnd: () => this.#wake.resolve() });
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
    this.#putInForce(current, { isOnProbation });
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
    if (taking.kind === 'taken') this.#putInForce(reading.state, { isOnProbation: true });
    else if (taking.kind === 'kept') this.#keepInForce(reading.state);
    else this.#reject(reading.state.version, { code: 500, description: taking.reason });
  }

  /** Goes on with what is in force, under the version that it has now. */
  #keepInForce(state: DesiredState): void {
    this.#rejected = false;
    this.#desired = state;
    this.#wake.resolve();
  }

  #putInForce(state: DesiredState, trial: { readonly isOnProbation: boolean }): void {
    this.#rejected = false;
    this.#desired = state;
    this.#trial.begin(trial);
    this.#failures.clearAll();
    this.#rehearsals.clear();
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
    const restarted = this.#restarts.ask(module, signal);
    this.#wake.resolve();
    await restarted;
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
    await stopModules(await this.#list(), this.#options);
  }

  /** Tells how things are as the agent ends: IoT Edge's code for that is 406. */
  async tellEnd(): Promise<void> {
    this.#status = { code: 406, description: 'Agent is not running' };
    this.#tell(await this.#look());
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { watch } = this.#options;
    const device = await this.#look(signal);
    const desired = this.#desired;
    if (desired === undefined) return this.#tell(device);
    this.#rehearsals.look(desired.modules, device.rehearsals);
    if (await this.#hasFailedRehearsal(desired)) return this.#tell(device);
    const steps = plan(desired.modules, this.#current(desired, device));
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
    const after = steps.some(({ kind }) => kind !== 'stage') ? await this.#look(signal) : device;
    if (!interrupted) await this.#settle(desired, after);
    this.#tell(after);
  }

  /** Looks at the device, and remembers what one look does not tell. */
  async #look(signal?: AbortSignal): Promise<Device> {
    return lookAtDevice(await this.#list(signal), this.#options);
  }

  #current(desired: DesiredState, { observed, rehearsals }: Device): CurrentState {
    return {
      modules: observed,
      rehearsals,
      proven: this.#rehearsals.proven,
      withoutRoom: roomlessModules(desired.modules, this.#options.freeMemoryBytes()),
      staged: new Set(this.#stager.staged.keys()),
      staging: this.#stager.staging,
      coolingOff: this.#failures.coolingOff(this.#options.clock.monotonicMs()),
      restartAsked: this.#restarts.modules,
    };
  }

  /** Acts on a rehearsal that came to nothing, and says whether the desired state in force is another now. */
  async #hasFailedRehearsal(desired: DesiredState): Promise<boolean> {
    const failed = this.#rehearsals.takeFailed();
    if (failed === undefined) return false;
    const outcome = await this.#trial.fail(desired, { ...failed, isRehearsal: true });
    if (outcome.kind === 'failing') this.#noteFailure({ kind: 'rehearse', module: failed.module }, outcome.reason);
    return this.#hasChanged(desired, outcome);
  }

  /** Puts in force what a trial has brought back, and says whether the desired state in force is another now. */
  #hasChanged(desired: DesiredState, outcome: TrialOutcome): boolean {
    if (outcome.kind !== 'taken back') return outcome.kind === 'superseded';
    const { current } = this.#options.generations;
    if (current !== undefined) this.#putInForce(current, { isOnProbation: true });
    this.#reject(desired.version, { code: 500, description: outcome.reason });
    return true;
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
      if (step.kind === 'stop' || step.kind === 'start') this.#restarts.answer(step.module, error);
      return false;
    }
    onStep(step, clock.monotonicMs() - begunMs);
    log.info({ ...step }, `module ${step.kind} done`);
    this.#failures.clear(step);
    if (step.kind === 'start') this.#restarts.answer(step.module);
    return true;
  }

  #noteFailure(step: Parameters<Failures['add']>[0], error: unknown): void {
    const retryInMs = this.#failures.add(step, error, this.#options.clock.monotonicMs());
    const code = isFerryError(error) ? error.code : undefined;
    this.#options.log.error({ ...step, code, retryInMs }, messageOf(error));
  }

  /** Decides how carrying out the desired state went, once there is something to say. */
  async #settle(desired: DesiredState, device: Device): Promise<void> {
    const { generations, log } = this.#options;
    const outcome = await this.#trial.look(desired, device.observed);
    if (this.#hasChanged(desired, outcome) || this.#rejected) return;
    const messages = this.#failures.messages();
    if (outcome.kind === 'failing') messages.push(outcome.reason);
    if (messages.length > 0) {
      this.#lastDesiredVersion = desired.version;
      this.#status = { code: 500, description: messages.join('; ') };
    } else if (outcome.kind !== 'starting' && plan(desired.modules, this.#current(desired, device)).length === 0) {
      if (this.#lastDesiredVersion !== desired.version || this.#status.code !== 200) {
        log.info({ version: desired.version }, 'the device is as desired');
      }
      await generations.noteReady();
      this.#lastDesiredVersion = desired.version;
      this.#status = { code: 200, description: '' };
    }
  }

  #tell({ containers, observed }: Device): void {
    const [lastDesiredVersion, status, desired] = [this.#lastDesiredVersion, this.#status, this.#desired];
    this.#options.onLook({ lastDesiredVersion, status, desired, containers, observed });
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
    const everyMs = this.#trial.nextLookMs({ isStaging: this.#stager.staging.size > 0 });
    const over = new AbortController();
    try {
      await Promise.race([this.#wake.promise, this.#options.clock.sleep(everyMs, over.signal)]);
    } finally {
      over.abort();
    }
  }
}
