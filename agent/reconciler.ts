import type { ContainerState } from '../shared/containers/engine.ts';
import { withDeadline } from '../shared/deadline.ts';
import { FerryError, messageOf } from '../shared/errors.ts';
import { StepRunner, type StepRunnerOptions } from './apply/step-runner.ts';
import { stopModules } from './apply/stop-modules.ts';
import type { DesiredReading, DesiredState } from './desired-state.ts';
import type { Generations, Taking } from './generations.ts';
import { type Device, lookAtDevice } from './device-look.ts';
import { type CurrentState, type ObservedModule, plan } from './plan.ts';
import { Rehearsals } from './rehearsals.ts';
import { roomlessModules } from './rehearsal-room.ts';
import type { DesiredStatus } from './report.ts';
import { backoffMs } from './restart-policy.ts';
import { Stager, type StageImage } from './stager.ts';
import { Trial, type TrialOptions, type TrialOutcome } from './trial.ts';

/** The settings of a {@link Reconciler}. */
export interface ReconcilerOptions extends TrialOptions, StepRunnerOptions {
  readonly stageImage: (state: DesiredState, image: string, signal: AbortSignal) => ReturnType<StageImage>;
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
  readonly #runner: StepRunner;
  readonly #trial: Trial;
  readonly #rehearsals: Rehearsals;
  #desired: DesiredState | undefined;
  /** Whether what came last is not what is in force, so that what was said of it stays said. */
  #rejected = false;
  /** What came last and could not be kept. */
  #untaken: { readonly reading: DesiredReading; readonly properties: unknown; readonly sinceMs: number } | undefined;
  #lastDesiredVersion = 0;
  #status: DesiredStatus = { code: 406, description: 'The agent has not reached the hub yet' };
  #wake = Promise.withResolvers<void>();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#runner = new StepRunner(options);
    this.#trial = new Trial(options);
    this.#rehearsals = new Rehearsals({ ...options, onEnd: () => this.#wake.resolve() });
    this.#stager = new Stager({
      log: options.log,
      stageImage: async (image, signal) => {
        if (this.#desired === undefined) throw new Error('Nothing is desired');
        return options.stageImage(this.#desired, image, signal);
      },
      onEnd: ({ image, error }) => {
        if (error === undefined) this.#runner.failures.clear({ kind: 'stage', image });
        else this.#runner.noteFailure({ kind: 'stage', image }, error);
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
    this.#untaken = undefined;
    if (reading.code !== 200) {
      log.error({ code: reading.code, version: reading.version }, reading.description);
      this.#reject(reading.version, { code: reading.code, description: reading.description });
      return;
    }
    if (reading.ignored.length > 0) {
      log.warn({ fields: reading.ignored }, 'leaving out fields of the deployment that are not known');
    }
    let taking: Taking;
    try {
      taking = await generations.take(reading.state, properties);
    } catch (error) {
      // A full disk, say: what is in force goes on, and is not left for what a restart would not know.
      this.#untaken = { reading, properties, sinceMs: this.#options.clock.monotonicMs() };
      const description = `Cannot keep the deployment on the disk: ${messageOf(error)}`;
      log.error({ version: reading.state.version }, description);
      return this.#reject(reading.state.version, { code: 500, description });
    }
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
    this.#runner.failures.clearAll();
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
    const restarted = this.#runner.restarts.ask(module, signal);
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
    const device = await this.#look(signal);
    await this.#takeAgain();
    const desired = this.#desired;
    if (desired === undefined) return this.#tell(device);
    this.#rehearsals.look(desired.modules, device.rehearsals);
    if (await this.#hasFailedRehearsal(desired)) return this.#tell(device);
    const steps = plan(desired.modules, this.#current(desired, device));
    const wasDone = await this.#runner.run(steps, {
      specs: new Map(desired.modules.map((spec) => [spec.name, spec])),
      staged: this.#stager.staged,
      stage: (image) => this.#stager.begin(image),
      isWanted: () => this.#desired === desired,
      signal,
    });
    await this.#saveWatch();
    const after = steps.some(({ kind }) => kind !== 'stage') ? await this.#look(signal) : device;
    if (wasDone) await this.#settle(desired, after);
    this.#tell(after);
  }

  /** Tries again to take what could not be kept. */
  async #takeAgain(): Promise<void> {
    const untaken = this.#untaken;
    if (untaken === undefined || this.#options.clock.monotonicMs() - untaken.sinceMs < backoffMs(0)) return;
    await this.setDesired(untaken.reading, untaken.properties);
  }

  /** Writes down what has to outlive the agent. Nothing but counts is lost without it, so nothing waits for a disk with room. */
  async #saveWatch(): Promise<void> {
    await this.#options.watch.save().catch((error: unknown) => {
      this.#options.log.warn({ why: messageOf(error) }, 'could not write down how often modules were started again');
    });
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
      coolingOff: this.#runner.failures.coolingOff(this.#options.clock.monotonicMs()),
      restartAsked: this.#runner.restarts.modules,
    };
  }

  /** Acts on a rehearsal that came to nothing, and says whether the desired state in force is another now. */
  async #hasFailedRehearsal(desired: DesiredState): Promise<boolean> {
    const failed = this.#rehearsals.takeFailed();
    if (failed === undefined) return false;
    const outcome = await this.#trial.fail(desired, { ...failed, isRehearsal: true });
    if (outcome.kind === 'failing')
      this.#runner.noteFailure({ kind: 'rehearse', module: failed.module }, outcome.reason);
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

  /** Decides how carrying out the desired state went, once there is something to say. */
  async #settle(desired: DesiredState, device: Device): Promise<void> {
    const { generations, log } = this.#options;
    const hopeless = generations.hasFallback ? this.#runner.failures.hopeless() : undefined;
    const outcome = hopeless
      ? await this.#trial.fail(desired, hopeless)
      : await this.#trial.look(desired, device.observed);
    if (this.#hasChanged(desired, outcome) || this.#rejected) return;
    const messages = this.#runner.failures.messages();
    if (outcome.kind === 'failing') messages.push(outcome.reason);
    if (messages.length > 0) {
      this.#lastDesiredVersion = desired.version;
      this.#status = { code: 500, description: messages.join('; ') };
    } else if (outcome.kind !== 'starting' && this.#isDone(desired, device)) {
      if (this.#lastDesiredVersion !== desired.version || this.#status.code !== 200) {
        log.info({ version: desired.version }, 'the device is as desired');
      }
      const kept = await noteReady(generations);
      this.#lastDesiredVersion = desired.version;
      this.#status = kept === undefined ? { code: 200, description: '' } : { code: 500, description: kept };
    }
  }

  /** Says whether there is nothing to do, and nothing under way. */
  #isDone(desired: DesiredState, device: Device): boolean {
    return this.#stager.staging.size === 0 && plan(desired.modules, this.#current(desired, device)).length === 0;
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
      over.abort(new Error('no longer waited for'));
    }
  }
}

/** Writes down that all modules are ready, and says why that could not be done. */
async function noteReady(generations: Generations): Promise<string | undefined> {
  try {
    await generations.noteReady();
    return undefined;
  } catch (error) {
    return `Cannot write down that all modules are ready: ${messageOf(error)}`;
  }
}
