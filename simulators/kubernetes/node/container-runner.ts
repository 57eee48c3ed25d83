import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Account, containerAccount, giveFolder, isRoot } from '../../../shared/containers/process/account.ts';
import type { Digest } from '../../../shared/digest.ts';
import { isFerryError, messageOf } from '../../../shared/errors.ts';
import type { Container, ContainerStatus, Pod, Probe } from '../objects.ts';
import { now } from '../writer.ts';
import { containerSpec } from './container-spec.ts';
import { ConfigError, environmentOf } from './environment.ts';
import { backoffOf, type NodeServices, pause } from './node-services.ts';
import { probeOnce } from './probe.ts';
import { mountsOf } from './volumes.ts';

/** The settings of a {@link ContainerRunner}. */
export interface RunnerOptions {
  readonly pod: Pod;
  readonly container: Container;
  readonly podIp: string;
  /** What the engine calls the container whose network it shares. @default it has one of its own */
  readonly networkOf: string | undefined;
  readonly volumesFolder: string;
  readonly isInit: boolean;
  /** Called at each change of its status. */
  readonly onChange: () => void;
}

/** A container that has run so long begins anew with short pauses between restarts, in milliseconds. */
const healthyMs = 10 * 60 * 1000;
/** Output of a failed container that its status carries, in characters. */
const messageLengthMax = 2048;

/** Who a pod's files belong to. */
export function ownerOf({ spec }: Pod, container?: Container): Account {
  const uid = container?.securityContext?.runAsUser ?? spec.securityContext?.runAsUser ?? containerAccount.uid;
  return {
    uid,
    gid:
      spec.securityContext?.fsGroup ??
      container?.securityContext?.runAsGroup ??
      spec.securityContext?.runAsGroup ??
      uid,
  };
}

/** One container of a pod, over all its restarts: image, start, probes, end, pause. */
export class ContainerRunner {
  readonly #node: NodeServices;
  readonly #options: RunnerOptions;
  readonly #names: string[] = [];
  #status: ContainerStatus;
  #failures = 0;
  #image: Digest | undefined;

  constructor(node: NodeServices, options: RunnerOptions) {
    this.#node = node;
    this.#options = options;
    const { name, image = '' } = options.container;
    const reason = options.pod.spec.initContainers === undefined ? 'ContainerCreating' : 'PodInitializing';
    this.#status = {
      name,
      image,
      imageID: '',
      ready: false,
      restartCount: 0,
      started: false,
      state: { waiting: { reason } },
    };
  }

  get status(): ContainerStatus {
    return this.#status;
  }

  /** What the engine calls the current run, or the one before. */
  engineName(which: 'current' | 'previous'): string | undefined {
    return this.#names.at(which === 'current' ? -1 : -2);
  }

  /** Runs it until it has ended for good, or the signal says that the pod ends. Gives whether it has ended well. */
  async run(signal: AbortSignal): Promise<boolean> {
    const { pod, container, isInit } = this.#options;
    const policy = pod.spec.restartPolicy ?? 'Always';
    while (!signal.aborted) {
      const name = await this.#start(signal);
      if (name === undefined) return false;
      const startedMs = performance.now();
      const exitCode = await this.#watch(name, signal);
      if (exitCode === undefined) return false;
      const isGood = exitCode === 0;
      if (isGood && (isInit || policy !== 'Always')) return true;
      if (!isGood && policy === 'Never') return false;
      if (performance.now() - startedMs > healthyMs) this.#failures = 0;
      this.#failures += 1;
      // The first restart comes at once, as a cluster does it.
      if (this.#failures > 1) await this.#wait(backoffOf(this.#node.times, this.#failures - 1), signal);
      if (signal.aborted) return false;
      this.#set({ restartCount: this.#status.restartCount + 1 });
      this.#event('Normal', 'Pulled', `Container image "${container.image}" already present on machine`);
    }
    return false;
  }

  /** Ends it, gives it time to do so, and removes all its runs. */
  async stop(graceMs: number): Promise<void> {
    const name = this.engineName('current');
    if (name !== undefined) {
      await this.#node.engine.stop(name, { graceMs });
      await this.#note(name);
    }
    for (const old of this.#names) await this.#node.engine.remove(old);
  }

  /** Gives the engine's name of a run that has begun; nothing when the pod ends before that. */
  async #start(signal: AbortSignal): Promise<string | undefined> {
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        const image = await this.#pull(signal);
        if (image === undefined) return undefined;
        const name = await this.#create(image);
        await this.#node.engine.start(name);
        this.#event('Normal', 'Started', `Started container ${this.#status.name}`);
        this.#set({
          state: { running: { startedAt: now() } },
          started: this.#options.container.startupProbe === undefined,
        });
        return name;
      } catch (error) {
        if (signal.aborted) return undefined;
        const isConfig = error instanceof ConfigError;
        const reason = isConfig ? 'CreateContainerConfigError' : 'RunContainerError';
        const message = messageOf(error);
        this.#set({ state: { waiting: { reason, message } } });
        this.#event('Warning', 'Failed', `Error: ${message}`);
        // What is missing may come at any time; what the engine refuses is left alone for longer.
        await pause(
          isConfig ? Math.min(2000, this.#node.times.backoffMs) : backoffOf(this.#node.times, failures),
          signal,
        );
      }
    }
    return undefined;
  }

  async #pull(signal: AbortSignal): Promise<Digest | undefined> {
    const { image = '', imagePullPolicy = 'IfNotPresent' } = this.#options.container;
    if (this.#image !== undefined) return this.#image;
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        this.#event('Normal', 'Pulling', `Pulling image "${image}"`);
        const digest = await this.#node.images.pull(image, imagePullPolicy, this.#node.engine);
        if (signal.aborted) return undefined;
        this.#event('Normal', 'Pulled', `Successfully pulled image "${image}"`);
        this.#image = digest;
        this.#set({ imageID: image.includes('@') ? image : `${image}@${digest}` });
        return digest;
      } catch (error) {
        if (signal.aborted) return undefined;
        const isName = isFerryError(error, 'NAME_INVALID');
        const message = `failed to pull and unpack image "${image}": ${messageOf(error)}`;
        this.#event('Warning', 'Failed', `Failed to pull image "${image}": ${message}`);
        this.#set({ state: { waiting: { reason: isName ? 'InvalidImageName' : 'ErrImagePull', message } } });
        await pause(Math.min(2000, this.#node.times.backoffMs), signal);
        this.#event('Normal', 'BackOff', `Back-off pulling image "${image}"`);
        this.#set({
          state: {
            waiting: {
              reason: isName ? 'InvalidImageName' : 'ImagePullBackOff',
              message: `Back-off pulling image "${image}": ${message}`,
            },
          },
        });
        await pause(backoffOf(this.#node.times, failures), signal);
      }
    }
    return undefined;
  }

  async #create(image: Digest): Promise<string> {
    const { pod, container, podIp, networkOf, volumesFolder } = this.#options;
    await this.#checkUser(image);
    const environment = environmentOf(this.#node.state.store, pod, container, podIp);
    const name = `${pod.metadata.uid.slice(0, 8)}-${container.name}-${this.#names.length}`;
    const scratchFolder = join(volumesFolder, '.scratch', container.name);
    await mkdir(scratchFolder, { recursive: true });
    if (isRoot()) await giveFolder(scratchFolder, ownerOf(pod, container));
    const mounts = mountsOf(container, volumesFolder);
    const { engine } = this.#node;
    await engine.create(
      containerSpec(pod, container, {
        engine: engine.kind,
        name,
        image,
        podIp,
        networkOf,
        environment,
        mounts,
        scratchFolder,
      }),
    );
    this.#names.push(name);
    // The run before is kept for its output; older ones go.
    const old = this.#names.length > 2 ? this.#names.shift() : undefined;
    if (old !== undefined) await engine.remove(old);
    this.#event('Normal', 'Created', `Created container: ${container.name}`);
    return name;
  }

  /** @throws {ConfigError} when it must not run as root and would */
  async #checkUser(image: Digest): Promise<void> {
    const { pod, container } = this.#options;
    const own = container.securityContext;
    const all = pod.spec.securityContext;
    if ((own?.runAsNonRoot ?? all?.runAsNonRoot) !== true) return;
    const user = String(own?.runAsUser ?? all?.runAsUser ?? (await this.#node.images.userOf(image)).split(':')[0]);
    if (user === '' || user === '0') throw new ConfigError('container has runAsNonRoot and image will run as root');
    if (!/^\d+$/.test(user)) {
      throw new ConfigError(
        `container has runAsNonRoot and image has non-numeric user (${user}), cannot verify user is non-root`,
      );
    }
  }

  /** Probes a run until it ends; gives its exit code, or nothing when the pod ends. */
  async #watch(name: string, podSignal: AbortSignal): Promise<number | undefined> {
    const ended = new AbortController();
    const signal = AbortSignal.any([podSignal, ended.signal]);
    const probing = this.#probeAll(name, signal);
    try {
      const { exitCode } = await this.#node.ended(name, podSignal);
      ended.abort();
      await probing;
      await this.#note(name);
      return exitCode;
    } catch (error) {
      if (!podSignal.aborted) throw error;
      await probing;
      return undefined;
    }
  }

  async #probeAll(name: string, signal: AbortSignal): Promise<void> {
    const { startupProbe, livenessProbe, readinessProbe } = this.#options.container;
    if (startupProbe !== undefined) {
      const isUp = await this.#probe(startupProbe, 'Startup', signal, (result) => result !== undefined);
      if (signal.aborted) return;
      if (!isUp) return await this.#kill(name, 'startup');
      this.#set({ started: true });
    }
    if (readinessProbe === undefined) this.#set({ ready: true });
    const watching = async (probe: Probe): Promise<void> => {
      await this.#probe(probe, 'Readiness', signal, (isGood) => {
        if (isGood !== undefined && isGood !== this.#status.ready) this.#set({ ready: isGood });
        return false;
      });
    };
    const guarding = async (probe: Probe): Promise<void> => {
      await this.#probe(probe, 'Liveness', signal, (isGood) => isGood === false);
      if (!signal.aborted) await this.#kill(name, 'liveness');
    };
    await Promise.all([readinessProbe && watching(readinessProbe), livenessProbe && guarding(livenessProbe)]);
  }

  /** Probes until somebody has heard enough; tells them what it is each time that its thresholds say so. Gives the last word. */
  async #probe(
    probe: Probe,
    kind: 'Startup' | 'Readiness' | 'Liveness',
    signal: AbortSignal,
    isEnough: (isGood: boolean | undefined) => boolean,
  ): Promise<boolean> {
    await pause((probe.initialDelaySeconds ?? 0) * 1000, signal);
    let streak = 0;
    let last: boolean | undefined;
    while (!signal.aborted) {
      const { isSuccess, message } = await probeOnce(probe, this.#options.container, this.#options.podIp);
      if (signal.aborted) break;
      streak = isSuccess === last ? streak + 1 : 1;
      last = isSuccess;
      if (!isSuccess) this.#event('Warning', 'Unhealthy', `${kind} probe failed: ${message}`);
      const threshold = isSuccess ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
      if (isEnough(streak >= threshold ? isSuccess : undefined)) return isSuccess;
      await pause((probe.periodSeconds ?? 10) * 1000, signal);
    }
    return false;
  }

  async #kill(name: string, probe: string): Promise<void> {
    this.#event('Normal', 'Killing', `Container ${this.#status.name} failed ${probe} probe, will be restarted`);
    await this.#node.engine.stop(name, {
      graceMs: (this.#options.pod.spec.terminationGracePeriodSeconds ?? 30) * 1000,
    });
  }

  /** Notes how a run has ended. */
  async #note(name: string): Promise<void> {
    const state = (await this.#node.engine.list()).find((one) => one.name === name);
    if (state === undefined) return;
    const { exitCode } = state;
    const message = exitCode === 0 ? '' : await this.#lastWords(name);
    const terminated = {
      exitCode,
      reason: exitCode === 0 ? 'Completed' : 'Error',
      startedAt: this.#status.state?.running?.startedAt ?? now(),
      finishedAt: now(),
      containerID: `${this.#node.engine.kind}://${name}`,
      ...(message === '' ? {} : { message }),
    };
    this.#set({ ready: false, started: false, state: { terminated } });
  }

  /** A container that writes no message of its own is explained by its output, where its owner wants that. */
  async #lastWords(name: string): Promise<string> {
    if (this.#options.container.terminationMessagePolicy !== 'FallbackToLogsOnError') return '';
    const text = await this.#node.engine.logs(name, { tail: 80 }).catch(() => '');
    return text.slice(-messageLengthMax);
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    const { name } = this.#status;
    const { pod } = this.#options;
    const what = `${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`;
    const message = `back-off ${Math.round(ms / 1000)}s restarting failed container=${name} pod=${what}`;
    const { terminated } = this.#status.state ?? {};
    this.#set({
      state: { waiting: { reason: 'CrashLoopBackOff', message } },
      ...(terminated === undefined ? {} : { lastState: { terminated } }),
    });
    this.#event('Warning', 'BackOff', `Back-off restarting failed container ${name} in pod ${what}`);
    await pause(ms, signal);
  }

  #set(part: Partial<ContainerStatus>): void {
    const { terminated } = this.#status.state ?? {};
    const isNewRun = part.state?.running !== undefined && terminated !== undefined;
    this.#status = { ...this.#status, ...(isNewRun ? { lastState: { terminated } } : {}), ...part };
    const name = this.engineName('current');
    if (name !== undefined) this.#status.containerID = `${this.#node.engine.kind}://${name}`;
    this.#options.onChange();
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#node.state.event(this.#options.pod, { type, reason, message, component: 'kubelet' });
  }
}
