import { join } from 'node:path';
import { messageOf } from '../../../shared/errors.ts';
import { withCondition } from '../cluster-state.ts';
import type { Container, Pod, PodStatus } from '../objects.ts';
import { kinds } from '../resources.ts';
import { now } from '../writer.ts';
import { ContainerRunner, ownerOf } from './container-runner.ts';
import { ConfigError } from './environment.ts';
import { backoffOf, type NodeServices, pause } from './node-services.ts';
import { PodNetwork } from './pod-network.ts';
import { removeVolumes, writeVolumes } from './volumes.ts';

/** How often mounted secrets and config maps are brought up to date, in milliseconds; a node takes about a minute. */
const refreshEveryMs = 5_000;

/** Runs one pod on a node, from its volumes to its end, and keeps its status. */
export class PodWorker {
  readonly #node: NodeServices;
  readonly #pod: Pod;
  readonly #podIp: string;
  readonly #network: PodNetwork;
  readonly #init: readonly ContainerRunner[];
  readonly #main: readonly ContainerRunner[];
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #ending: Promise<void> | undefined;
  #startedAt = now();
  #phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed' = 'Pending';

  constructor(node: NodeServices, pod: Pod, podIp: string) {
    this.#node = node;
    this.#pod = pod;
    this.#podIp = podIp;
    this.#network = new PodNetwork(node, { pod, podIp, volumesFolder: this.#folder });
    const runner = (isInit: boolean) => (container: Container) =>
      new ContainerRunner(node, {
        pod,
        container,
        podIp,
        networkOf: this.#network.holder,
        volumesFolder: this.#folder,
        isInit,
        onChange: () => this.#report(),
      });
    this.#init = (pod.spec.initContainers ?? []).map(runner(true));
    this.#main = pod.spec.containers.map(runner(false));
    this.#running = this.#run().catch((error: unknown) => {
      node.state.event(pod, { type: 'Warning', reason: 'FailedPod', message: messageOf(error), component: 'kubelet' });
    });
  }

  get podIp(): string {
    return this.#podIp;
  }

  /** What the engine calls a container of it. */
  engineName(container: string, which: 'current' | 'previous' = 'current'): string | undefined {
    return [...this.#main, ...this.#init].find(({ status }) => status.name === container)?.engineName(which);
  }

  /** Ends it: what has to be done before, SIGTERM, and after the time that it is given SIGKILL. Called again it shortens that time no more. */
  end(graceSeconds: number): Promise<void> {
    this.#ending ??= this.#end(graceSeconds);
    return this.#ending;
  }

  get #folder(): string {
    return join(this.#node.folder, this.#pod.metadata.uid);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    this.#report();
    if (!(await this.#mount(signal))) return;
    if (!(await this.#connect(signal))) return;
    for (const runner of this.#init) {
      if (await runner.run(signal)) continue;
      if (!signal.aborted) this.#finish('Failed');
      return;
    }
    this.#phase = 'Running';
    const refreshing = setInterval(() => void this.#write().catch(() => undefined), refreshEveryMs);
    try {
      const results = await Promise.all(this.#main.map((runner) => runner.run(signal)));
      if (!signal.aborted) this.#finish(results.every(Boolean) ? 'Succeeded' : 'Failed');
    } finally {
      clearInterval(refreshing);
    }
  }

  /** Tries until all volumes are there: a secret may come after the pod. */
  async #mount(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      try {
        await this.#write();
        return true;
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        const message = `MountVolume.SetUp failed for a volume: ${error.message}`;
        this.#node.state.event(this.#pod, { type: 'Warning', reason: 'FailedMount', message, component: 'kubelet' });
        await pause(Math.min(2000, this.#node.times.backoffMs), signal);
      }
    }
    return false;
  }

  /** Tries until the pod has its network. */
  async #connect(signal: AbortSignal): Promise<boolean> {
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        await this.#network.open();
        return true;
      } catch (error) {
        const message = `Failed to create pod sandbox: ${messageOf(error)}`;
        this.#node.state.event(this.#pod, {
          type: 'Warning',
          reason: 'FailedCreatePodSandBox',
          message,
          component: 'kubelet',
        });
        await pause(backoffOf(this.#node.times, failures), signal);
      }
    }
    return false;
  }

  #write(): Promise<void> {
    return writeVolumes(this.#node.state.store, this.#pod, {
      folder: this.#folder,
      owner: ownerOf(this.#pod),
      podIp: this.#podIp,
    });
  }

  #finish(phase: 'Succeeded' | 'Failed'): void {
    this.#phase = phase;
    this.#report();
  }

  async #end(graceSeconds: number): Promise<void> {
    const startMs = performance.now();
    if (this.#phase === 'Running' && graceSeconds > 0) await this.#beforeStop(graceSeconds);
    this.#stopping.abort();
    const leftMs = Math.max(0, graceSeconds * 1000 - (performance.now() - startMs));
    for (const { status } of this.#main) {
      if (status.state?.running === undefined) continue;
      this.#node.state.event(this.#pod, {
        reason: 'Killing',
        message: `Stopping container ${status.name}`,
        component: 'kubelet',
      });
    }
    await this.#running;
    await Promise.all([...this.#main, ...this.#init].map((runner) => runner.stop(leftMs)));
    await this.#network.close();
    await removeVolumes(this.#folder);
  }

  /** Carries out `preStop`: requests that are under way to the pod still find it. */
  async #beforeStop(graceSeconds: number): Promise<void> {
    const sleeps = this.#pod.spec.containers.map(({ lifecycle }) => lifecycle?.preStop?.sleep?.seconds ?? 0);
    const seconds = Math.min(graceSeconds, Math.max(0, ...sleeps));
    if (seconds > 0) await pause(seconds * 1000, this.#stopping.signal);
  }

  #report(): void {
    const { state } = this.#node;
    const { namespace, name, uid } = this.#pod.metadata;
    const pod = state.store.find<Pod>(kinds.pod, namespace, name);
    if (pod === undefined || pod.metadata.uid !== uid) return;
    const containerStatuses = this.#main.map(({ status }) => status);
    const initContainerStatuses = this.#init.map(({ status }) => status);
    const isInitialized = this.#init.every(({ status }) => status.state?.terminated?.exitCode === 0);
    const notReady = containerStatuses.filter(({ ready }) => !ready).map((status) => status.name);
    const isReady = notReady.length === 0 && this.#phase === 'Running';
    const why = { reason: 'ContainersNotReady', message: `containers with unready status: [${notReady.join(' ')}]` };
    let { conditions } = pod.status ?? {};
    for (const [type, isTrue, otherwise] of [
      ['PodReadyToStartContainers', true, {}],
      [
        'Initialized',
        isInitialized,
        { reason: 'ContainersNotInitialized', message: 'containers with incomplete status' },
      ],
      ['Ready', isReady, why],
      ['ContainersReady', isReady, why],
    ] as const) {
      conditions = withCondition(conditions, { type, status: isTrue ? 'True' : 'False', ...(isTrue ? {} : otherwise) });
    }
    const status: PodStatus = {
      ...pod.status,
      phase: this.#phase,
      ...(conditions === undefined ? {} : { conditions }),
      hostIP: '127.0.0.1',
      hostIPs: [{ ip: '127.0.0.1' }],
      podIP: this.#podIp,
      podIPs: [{ ip: this.#podIp }],
      startTime: this.#startedAt,
      ...(initContainerStatuses.length === 0 ? {} : { initContainerStatuses }),
      containerStatuses,
    };
    state.setStatus(kinds.pod, pod, status, 'kubelet');
  }
}
