import { availableParallelism } from 'node:os';
import type { Clock } from '../../../shared/clock.ts';
import type { ContainerSpec } from '../../../shared/containers/engine.ts';
import type { PullingEngine } from '../../../shared/containers/pulling-engine.ts';
import type { Digest } from '../../../shared/digest.ts';
import { messageOf } from '../../../shared/errors.ts';
import type { ContainerDefinition, InitContainerDefinition } from './definition.ts';
import type { EngineWatch } from './engine-watch.ts';
import { Events } from './events.ts';
import { runProbe } from './probe.ts';
import type { Mounts } from './volumes.ts';

/** How a container is, as the instance view tells it. */
export interface ContainerStateView {
  readonly state: 'Waiting' | 'Running' | 'Terminated';
  readonly startTime?: string;
  readonly finishTime?: string;
  readonly exitCode?: number;
  readonly detailStatus: string;
}

/** What a container needs beside its definition. */
export interface ContainerSurroundings {
  readonly pulling: PullingEngine;
  readonly watch: EngineWatch;
  readonly clock: Clock;
  /** How long it waits before it is started again: the first time, doubled each time up to 30 times as long. */
  readonly backOffMs: number;
  /** Unique among all containers of the simulator. */
  readonly engineName: string;
  /** The group's address on this machine. */
  readonly ip: string;
}

/** How long a container may take to end before it is killed, in milliseconds. */
const graceMs = 10_000;
const backOffFactorMax = 30;

/** Runs one container of a group: starts it again as the policy says, checks its health, remembers what happened. */
export class Container {
  readonly name: string;
  readonly events = new Events();
  restartCount = 0;
  current: ContainerStateView = { state: 'Waiting', detailStatus: 'Waiting' };
  previous: ContainerStateView | undefined;
  readonly #definition: InitContainerDefinition | ContainerDefinition;
  readonly #surroundings: ContainerSurroundings;
  #run = 0;
  #supervision: Promise<void> = Promise.resolve();

  constructor(definition: InitContainerDefinition | ContainerDefinition, surroundings: ContainerSurroundings) {
    this.name = definition.name;
    this.#definition = definition;
    this.#surroundings = surroundings;
  }

  get image(): string {
    return this.#definition.properties.image;
  }

  /** Starts it, and from then on again whenever the policy says so, until the signal is aborted. */
  async start(
    image: Digest,
    options: {
      readonly mounts: Mounts;
      readonly restartPolicy: 'Always' | 'OnFailure' | 'Never';
      readonly signal: AbortSignal;
    },
  ): Promise<void> {
    const { mounts, restartPolicy, signal } = options;
    await this.#launch(image, mounts, signal);
    this.#supervision = this.#supervise(restartPolicy, () => this.#launch(image, mounts, signal), signal);
  }

  /** Runs it to its end; gives its exit code. */
  async runToEnd(image: Digest, mounts: Mounts, signal: AbortSignal): Promise<number> {
    await this.#launch(image, mounts, signal);
    return await this.#untilEnded(signal);
  }

  /** Ends it, once the signal that it was started with is aborted; its output stays until {@link remove}. */
  async stop(): Promise<void> {
    const { pulling } = this.#surroundings;
    // It may be starting the container again at this moment.
    await this.#supervision;
    if (this.current.state === 'Running') this.events.add('Killing', `Stopping container ${this.name}`);
    if (this.#run > 0) await pulling.engine.stop(this.#engineName, { graceMs });
    const ended = (await pulling.engine.list()).find(({ name }) => name === this.#engineName);
    this.current = {
      ...this.current,
      state: 'Terminated',
      finishTime: ended?.finishedAt ?? new Date().toISOString(),
      exitCode: ended?.exitCode ?? 0,
      detailStatus: 'Stopped',
    };
  }

  /** Removes what the engine has of it; it must be stopped. */
  async remove(): Promise<void> {
    if (this.#run > 0) await this.#surroundings.pulling.engine.remove(this.#engineName);
    this.#run = 0;
  }

  /** What it wrote in its last run; `undefined` when it was never started. */
  async logs(tail: number | undefined): Promise<string | undefined> {
    if (this.#run === 0) return undefined;
    return await this.#surroundings.pulling.engine.logs(this.#engineName, tail === undefined ? {} : { tail });
  }

  get #engineName(): string {
    return `${this.#surroundings.engineName}-${this.#run}`;
  }

  /** Makes a new container of the engine for each run, so that its output is that of this run. */
  async #launch(image: Digest, mounts: Mounts, signal: AbortSignal): Promise<void> {
    const { engine } = this.#surroundings.pulling;
    if (this.#run > 0) await engine.remove(this.#engineName);
    this.#run += 1;
    await engine.create(this.#specification(image, mounts), signal);
    await engine.start(this.#engineName, { signal });
    this.current = { state: 'Running', startTime: new Date().toISOString(), detailStatus: '' };
    this.events.add('Started', 'Started container');
  }

  async #supervise(policy: string, launch: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const { clock, backOffMs } = this.#surroundings;
    for (let factor = 1; !signal.aborted; factor = Math.min(factor * 2, backOffFactorMax)) {
      const probing = this.#probe(signal);
      try {
        const exitCode = await this.#untilEnded(signal);
        if (policy === 'Never' || (policy === 'OnFailure' && exitCode === 0)) return;
        this.previous = this.current;
        this.current = { state: 'Waiting', detailStatus: 'CrashLoopBackOff: Back-off restarting failed' };
        this.events.add('BackOff', `Back-off restarting failed container ${this.name}`);
        await clock.sleep(backOffMs * factor, signal);
        this.restartCount += 1;
        await launch();
      } catch (error) {
        if (signal.aborted) return;
        this.events.add('Failed', `Error: ${messageOf(error)}`);
        this.current = {
          state: 'Terminated',
          exitCode: 128,
          detailStatus: 'Error',
          finishTime: new Date().toISOString(),
        };
        return;
      } finally {
        probing.abort();
      }
    }
  }

  async #untilEnded(signal: AbortSignal): Promise<number> {
    const ended = await this.#surroundings.watch.ended(this.#engineName, signal);
    const exitCode = ended?.exitCode ?? 255;
    this.current = {
      ...this.current,
      state: 'Terminated',
      exitCode,
      finishTime: ended?.finishedAt ?? new Date().toISOString(),
      detailStatus: exitCode === 0 ? 'Completed' : 'Error',
    };
    return exitCode;
  }

  #probe(signal: AbortSignal): AbortController {
    const controller = new AbortController();
    const { livenessProbe, readinessProbe }: Partial<ContainerDefinition['properties']> = this.#definition.properties;
    const { ip, pulling } = this.#surroundings;
    const name = this.#engineName;
    const both = AbortSignal.any([signal, controller.signal]);
    const start = (kind: 'Liveness' | 'Readiness', turned: (isHealthy: boolean) => void): void => {
      const probe = kind === 'Liveness' ? livenessProbe : readinessProbe;
      if (probe == null) return;
      const failed = (why: string): void => this.events.add('Unhealthy', `${kind} probe failed: ${why}`);
      void runProbe(probe, { host: ip, signal: both, listener: { failed, turned } });
    };
    start('Readiness', () => undefined);
    start('Liveness', (isHealthy) => {
      if (isHealthy) return;
      this.events.add('Killing', `Container ${this.name} failed liveness probe, will be restarted`);
      pulling.engine.stop(name, { graceMs }).catch((error: unknown) => this.events.add('Failed', messageOf(error)));
    });
    return controller;
  }

  #specification(image: Digest, mounts: Mounts): ContainerSpec {
    const { pulling, ip } = this.#surroundings;
    const { properties } = this.#definition;
    const isProcess = pulling.engine.kind === 'process';
    const text = (value: string): string => (isProcess ? mounts.translate(value) : value);
    const ports = 'ports' in properties ? (properties.ports ?? []) : [];
    const bindings = ports.map(({ port, protocol }): [string, object[]] => [
      `${port}/${(protocol ?? 'TCP').toLowerCase()}`,
      [{ HostIp: ip, HostPort: String(port) }],
    ]);
    const [first] = ports;
    // A process is told where to listen: on the group's own address, on its first port. It has the scoring port's binding for that.
    const asProcess = first === undefined ? [] : [['5001/tcp', [{ HostIp: ip, HostPort: String(first.port) }]]];
    const variables = (properties.environmentVariables ?? []).map(({ name, value, secureValue }): [string, string] => [
      name,
      text(value ?? secureValue ?? ''),
    ]);
    return {
      name: this.#engineName,
      image,
      environment: { ...(isProcess ? { MODELFERRY_HOST: ip } : {}), ...Object.fromEntries(variables) },
      settings: {
        ...(properties.command == null || properties.command.length === 0
          ? {}
          : { Entrypoint: properties.command.map(text), Cmd: [] }),
        ...(isProcess ? {} : { ExposedPorts: Object.fromEntries(bindings.map(([port]) => [port, {}])) }),
        HostConfig: {
          ...limitsOf(this.#definition),
          ...(isProcess ? {} : { Binds: [...mounts.binds] }),
          PortBindings: Object.fromEntries(isProcess ? asProcess : bindings),
        },
      },
      dataFolder: mounts.dataFolder,
      labels: {},
    };
  }
}

/** What a container may use: its limit, else its request, and never more processors than there are. */
function limitsOf({ properties }: InitContainerDefinition | ContainerDefinition): {
  Memory?: number;
  NanoCpus?: number;
} {
  if (!('resources' in properties)) return {};
  const { requests, limits } = properties.resources;
  const cpu = Math.min(limits?.cpu ?? requests.cpu ?? 1, availableParallelism());
  return {
    NanoCpus: Math.round(cpu * 1e9),
    Memory: Math.round((limits?.memoryInGB ?? requests.memoryInGB ?? 1.5) * 1024 ** 3),
  };
}
