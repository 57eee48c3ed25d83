import { randomInt } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { availableParallelism, arch, hostname, release, totalmem } from 'node:os';
import type { ContainerEngine, ContainerState } from '../../../shared/containers/engine.ts';
import type { Logger } from '../../../shared/log.ts';
import { type ClusterState, withCondition } from '../cluster-state.ts';
import { type Json, type Node, type Pod } from '../objects.ts';
import { kinds } from '../resources.ts';
import type { Images } from './images.ts';
import type { NodeServices, NodeTimes } from './node-services.ts';
import { PodWorker } from './pod-worker.ts';
import type { Usage, UsageMeter } from './usage.ts';

/** Addresses that pods may have: 127.1.0.0/16 without those that end in 0. */
const podAddresses = 65_000;
/** How often it is looked which containers run, in milliseconds. */
const lookEveryMs = 300;
/** How long the end of all pods may take when the cluster ends, in seconds. */
const closeSeconds = 5;

/** The settings of a {@link Kubelet}. */
export interface KubeletOptions {
  readonly state: ClusterState;
  readonly engine: ContainerEngine;
  readonly images: Images;
  readonly folder: string;
  readonly times: NodeTimes;
  readonly usage: UsageMeter;
  readonly log: Logger;
}

/** Runs the pods of every node: all nodes of the cluster are this machine. */
export class Kubelet implements AsyncDisposable {
  readonly #options: KubeletOptions;
  readonly #workers = new Map<string, PodWorker>();
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #waiting = new Set<{ name: string; resolve: (state: ContainerState) => void }>();
  readonly #services: NodeServices;
  #looking: NodeJS.Timeout | undefined;
  #isLooking = false;
  /** From a random place on: two clusters on one machine seldom want the same. */
  #addresses = randomInt(podAddresses);

  constructor(options: KubeletOptions) {
    this.#options = options;
    const { state, engine, images, folder, times } = options;
    this.#services = { state, engine, images, folder, times, ended: (name, signal) => this.#ended(name, signal) };
  }

  /** Removes what an earlier run has left, and begins. */
  async start(): Promise<void> {
    const { engine, folder } = this.#options;
    for (const { name } of await engine.list()) {
      await engine.stop(name, { graceMs: 0 });
      await engine.remove(name);
    }
    await rm(folder, { recursive: true, force: true });
    this.#looking = setInterval(() => void this.#look(), lookEveryMs);
  }

  /** Starts pods that a node was given, and ends those that are to go. */
  sync(): void {
    const { state } = this.#options;
    for (const node of state.store.list<Node>(kinds.node)) this.#reportNode(node);
    const pods = state.store.list<Pod>(kinds.pod).filter(({ spec }) => spec.nodeName !== undefined);
    for (const pod of pods) {
      const { uid, deletionTimestamp, deletionGracePeriodSeconds = 30 } = pod.metadata;
      if (deletionTimestamp !== undefined) this.#end(uid, deletionGracePeriodSeconds, pod);
      else if (!this.#workers.has(uid)) this.#workers.set(uid, new PodWorker(this.#services, pod, this.#nextAddress()));
    }
    const here = new Set(pods.map(({ metadata }) => metadata.uid));
    for (const uid of this.#workers.keys()) if (!here.has(uid)) this.#end(uid, 0, undefined);
  }

  /** What the engine calls a container of a pod. */
  engineName(pod: Pod, container: string, which: 'current' | 'previous'): string | undefined {
    return this.#workers.get(pod.metadata.uid)?.engineName(container, which);
  }

  /** What a container of a pod takes. */
  usageOf(pod: Pod, container: string): Usage | undefined {
    const name = this.engineName(pod, container, 'current');
    return name === undefined ? undefined : this.#options.usage.of(name);
  }

  /** Ends all pods. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.end(closeSeconds)));
    await Promise.all(this.#leaving.values());
    clearInterval(this.#looking);
  }

  #end(uid: string, graceSeconds: number, pod: Pod | undefined): void {
    if (this.#leaving.has(uid)) return;
    const { state, log } = this.#options;
    const worker = this.#workers.get(uid);
    const ending = async (): Promise<void> => {
      try {
        await worker?.end(graceSeconds);
      } catch (error) {
        log.error({ err: error, pod: uid }, 'a pod did not end as it should');
      }
      this.#workers.delete(uid);
      this.#leaving.delete(uid);
      const now = pod && state.store.find(kinds.pod, pod.metadata.namespace, pod.metadata.name);
      const isFree = (now?.metadata.finalizers ?? []).length === 0;
      if (now !== undefined && now.metadata.uid === uid && isFree) state.store.remove(kinds.pod, now);
    };
    // Noted before it begins, as it may end at once.
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#leaving.set(uid, promise);
    void ending().finally(resolve);
  }

  /** Each pod has an address of its own, so that all may listen at the same port. */
  #nextAddress(): string {
    const used = new Set([...this.#workers.values()].map(({ podIp }) => podIp));
    for (;;) {
      this.#addresses = (this.#addresses % podAddresses) + 1;
      const address = `127.1.${this.#addresses >> 8}.${this.#addresses & 0xff}`;
      if (!used.has(address) && (this.#addresses & 0xff) !== 0) return address;
    }
  }

  async #ended(name: string, signal: AbortSignal): Promise<ContainerState> {
    const { promise, resolve, reject } = Promise.withResolvers<ContainerState>();
    const waiting = { name, resolve };
    this.#waiting.add(waiting);
    const stop = (): void => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      return await promise;
    } finally {
      this.#waiting.delete(waiting);
      signal.removeEventListener('abort', stop);
    }
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#waiting.size === 0) return;
    this.#isLooking = true;
    try {
      const states = await this.#options.engine.list();
      for (const { name, resolve } of this.#waiting) {
        const state = states.find((one) => one.name === name);
        if (state !== undefined && state.status !== 'running') resolve(state);
      }
    } catch (error) {
      this.#options.log.warn({ err: error }, 'the engine does not say which containers run');
    } finally {
      this.#isLooking = false;
    }
  }

  #reportNode(node: Node): void {
    const { state } = this.#options;
    const capacity = { ...machineCapacity(), ...node.status?.capacity };
    const conditions = withCondition(node.status?.conditions, {
      type: 'Ready',
      status: 'True',
      reason: 'KubeletReady',
      message: 'kubelet is posting ready status',
    });
    const status = {
      ...node.status,
      capacity,
      allocatable: { ...capacity, ...node.status?.allocatable },
      conditions,
      addresses: [
        { type: 'InternalIP', address: '127.0.0.1' },
        { type: 'Hostname', address: node.metadata.name },
      ],
      nodeInfo: nodeInfo(this.#options.engine.kind),
    };
    state.setStatus(kinds.node, node, status, 'kubelet');
  }
}

function machineCapacity(): Record<string, string> {
  return { cpu: String(availableParallelism()), memory: `${Math.floor(totalmem() / 1024)}Ki`, pods: '110' };
}

function architecture(): string {
  return arch() === 'x64' ? 'amd64' : arch();
}

/** The node that a cluster has from the start. */
export function firstNode(): Json {
  const name = 'node-1';
  return {
    metadata: {
      name,
      labels: { 'kubernetes.io/arch': architecture(), 'kubernetes.io/os': 'linux', 'kubernetes.io/hostname': name },
    },
    spec: {},
  };
}

function nodeInfo(engine: string): Json {
  return {
    machineID: '',
    systemUUID: '',
    bootID: '',
    kernelVersion: release(),
    osImage: `${hostname()} (simulated)`,
    containerRuntimeVersion: `${engine}://`,
    kubeletVersion: 'v1.33.0+modelferry',
    kubeProxyVersion: '',
    operatingSystem: 'linux',
    architecture: architecture(),
  };
}
