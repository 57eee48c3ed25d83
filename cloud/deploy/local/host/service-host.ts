import { join } from 'node:path';
import type { ContainerEngine, LogSelection } from '../../../../shared/containers/engine.ts';
import { digestOf } from '../../../../shared/digest.ts';
import { messageOf } from '../../../../shared/errors.ts';
import type { Logger } from '../../../../shared/log.ts';
import type { ServiceState } from '../../service-state.ts';
import type { HostDesired, HostStatus } from '../host-state.ts';
import { CrashCount } from './crash-count.ts';
import { openPort } from './open-port.ts';
import { portLabel, Replica, specLabel, writeSecretFiles } from './replica.ts';
import { Scaling } from './scaling.ts';
import type { ServicePort } from './service-port.ts';

/** How often replicas are looked at, in milliseconds. */
const lookMs = 500;
/** Questions in a row that a replica may leave unanswered before it gets no more requests. */
const failuresMax = 3;
/** How long a replica may take to answer what it has before it is ended all the same, in milliseconds. */
const drainTimeoutMs = 300_000;

/** The settings of {@link ServiceHost}. */
export interface ServiceHostOptions {
  readonly engine: ContainerEngine;
  /** Folder of the service. */
  readonly folder: string;
  readonly desired: HostDesired;
  readonly log: Logger;
}

/**
 * Keeps one service of this machine as it is wanted: its replicas, and the port before them.
 *
 * - One loop acts, one step after the other; a new desired state ends what is being started for the one before.
 * - A replica gets requests once it is ready and has answered the sample rightly. It is ended once another has its place and it has answered
 *   all it had.
 * - A new desired state whose first replica fails is given up: what there was goes on serving.
 * - What runs when this program starts is taken up again.
 */
export class ServiceHost implements AsyncDisposable {
  readonly #engine: ContainerEngine;
  readonly #folder: string;
  readonly #log: Logger;
  readonly #port: ServicePort;
  readonly #replicas: Replica[] = [];
  readonly #ending = new Set<Promise<void>>();
  #desired: HostDesired;
  #scaling: Scaling;
  #wanted: number;
  #change = new AbortController();
  /** Revision that was given up, and why. */
  #givenUp: { readonly revision: string; readonly reason: string } | undefined;
  readonly #crashes = new CrashCount();
  #settled = '';
  #lookedAtLoadMs = -Infinity;
  #wake: () => void = () => {};

  constructor({ engine, folder, desired, log }: ServiceHostOptions) {
    this.#engine = engine;
    this.#folder = folder;
    this.#log = log;
    this.#desired = desired;
    this.#wanted = desired.replicas.least;
    this.#scaling = new Scaling(this.#wanted);
    this.#port = openPort(desired);
  }

  /** Wants something else from now on. */
  change(desired: HostDesired): void {
    if (desired.revision === this.#desired.revision && this.#givenUp === undefined) return;
    this.#log.info({ revision: desired.revision }, 'told what is wanted');
    this.#desired = desired;
    this.#givenUp = undefined;
    this.#crashes.clear();
    this.#change.abort();
    this.#change = new AbortController();
    this.#wake();
  }

  /** Works until the signal is aborted. Replicas go on. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#adopt(signal);
    while (!signal.aborted) {
      const { signal: changed } = this.#change;
      const desired = this.#desired;
      try {
        await this.#step(desired, AbortSignal.any([signal, changed]));
      } catch (error) {
        if (!signal.aborted && !changed.aborted) {
          this.#log.error({ err: error }, 'a step failed');
          if (this.#replicas.length === 0 || this.#settled !== desired.revision)
            this.#giveUp(desired, messageOf(error));
        }
      }
      if (!changed.aborted && !signal.aborted)
        await this.#sleep(Math.min(lookMs, desired.replicas.refreshSeconds * 1000), signal);
    }
  }

  /** Ends and removes all replicas, and what was made for them. */
  async removeAll(): Promise<void> {
    await Promise.all(this.#replicas.splice(0).map(async (replica) => this.#end(replica)));
    await Promise.all(this.#ending);
    for (const { name } of await this.#engine.list()) {
      await this.#engine.stop(name, { graceMs: 0 });
      await this.#engine.remove(name);
    }
    await this.#engine.forgetImage(this.#desired.replica.image);
  }

  status(): HostStatus {
    const { revision, replicas } = this.#desired;
    const spec = specOf(this.#desired);
    return {
      pid: process.pid,
      revision,
      ...this.#state(),
      replicas: this.#replicas.map((replica) => ({
        name: replica.name,
        state: replica.spec !== spec ? 'Transitioning' : replica.upstream.isReady ? 'Healthy' : 'Unhealthy',
        ...(replica.upstream.isReady ? {} : { reason: 'it does not say that it is ready' }),
        revision: replica.spec,
        outstanding: replica.upstream.outstanding,
        restarts: this.#crashes.all,
        port: replica.upstream.port,
      })),
      wanted: Math.max(this.#wanted, replicas.least),
      load: this.#port.load,
      answers: Object.fromEntries([...this.#port.answers].map(([status, count]) => [String(status), count])),
    };
  }

  /** Gives what each replica wrote. */
  async logs(selection: LogSelection): Promise<Record<string, string>> {
    const entries = this.#replicas.map(async ({ name }) => [name, await this.#engine.logs(name, selection)] as const);
    return Object.fromEntries(await Promise.all(entries));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#port[Symbol.asyncDispose]();
  }

  #state(): { readonly state: ServiceState; readonly reason?: string } {
    const { revision, replicas } = this.#desired;
    if (this.#givenUp?.revision === revision) return { state: 'Failed', reason: this.#givenUp.reason };
    const spec = specOf(this.#desired);
    const own = this.#replicas.filter((replica) => replica.spec === spec);
    const ready = own.filter(({ upstream }) => upstream.isReady).length;
    if (this.#settled === revision && ready >= replicas.least && own.length === this.#replicas.length)
      return { state: 'Healthy' };
    if (this.#crashes.reason !== undefined) return { state: 'Unhealthy', reason: this.#crashes.reason };
    if (own.length > ready)
      return { state: 'Unhealthy', reason: `${own.length - ready} of its replicas do not answer` };
    return { state: 'Transitioning', reason: `${ready} of ${replicas.least} replicas are ready` };
  }

  async #adopt(signal: AbortSignal): Promise<void> {
    for (const { name, labels, status } of await this.#engine.list(signal)) {
      const [spec, port] = [labels[specLabel], Number(labels[portLabel])];
      const replica = new Replica({ engine: this.#engine, folder: this.#folder }, { name, spec: spec ?? '', port });
      if (status === 'running' && spec !== undefined && (await replica.isReady(signal))) {
        this.#log.info({ replica: name }, 'taking it up again');
        await this.#take(replica);
      } else await replica.stop(0);
    }
  }

  async #step(desired: HostDesired, signal: AbortSignal): Promise<void> {
    await this.#port.become(desired);
    await this.#look(signal);
    this.#scale(desired);
    if (this.#givenUp?.revision === desired.revision) return;
    const spec = specOf(desired);
    if (this.#settled !== desired.revision) {
      for (const replica of this.#replicas) {
        if (replica.spec !== spec) continue;
        await writeSecretFiles(join(this.#folder, 'data', replica.name), desired);
        await replica.untilAccepts(desired, signal);
      }
    }
    const old = this.#replicas.filter((replica) => replica.spec !== spec);
    const missing = this.#wanted - (this.#replicas.length - old.length);
    if (missing > 0 && !this.#isHeldBack()) {
      await this.#engine.prepareImage(desired.replica.image, signal);
      // The first one of something new alone: when it fails, nothing else was touched.
      const together = old.length > 0 || this.#replicas.length === 0 ? 1 : missing;
      const started = await Promise.all(Array.from({ length: together }, () => this.#start(desired, spec, signal)));
      for (const replica of started) await this.#take(replica);
    }
    const more = this.#replicas.length - Math.max(this.#wanted, 1);
    const leaving = (
      old.length > 0 ? old : this.#replicas.toSorted((a, b) => a.upstream.outstanding - b.upstream.outstanding)
    ).slice(0, Math.max(more, 0));
    for (const replica of leaving) this.#leave(replica);
    const isWhole = this.#replicas.filter((replica) => replica.spec === spec).length >= this.#wanted;
    if (isWhole && this.#replicas.every((replica) => replica.spec === spec)) {
      if (this.#settled !== desired.revision) this.#log.info({ revision: desired.revision }, 'all is as wanted');
      this.#settled = desired.revision;
    } else if (!this.#isHeldBack()) this.#wakeSoon();
  }

  /** Starts a replica in the first place that no other one has. */
  async #start(desired: HostDesired, spec: string, signal: AbortSignal): Promise<Replica> {
    const name = this.#freeName();
    this.#starting.add(name);
    try {
      this.#log.info({ replica: name }, 'starting');
      const context = { engine: this.#engine, folder: this.#folder, socket: this.#port.socket };
      return await Replica.start(context, { name, spec, desired }, signal);
    } finally {
      this.#starting.delete(name);
    }
  }

  readonly #starting = new Set<string>();

  #freeName(): string {
    const taken = new Set([...this.#replicas.map(({ name }) => name), ...this.#starting, ...this.#endingNames]);
    for (let number = 1; ; number += 1) if (!taken.has(`replica-${number}`)) return `replica-${number}`;
  }

  readonly #endingNames = new Set<string>();

  async #take(replica: Replica): Promise<void> {
    this.#replicas.push(replica);
    this.#port.add(replica.upstream);
    await replica.letIn();
    this.#log.info({ replica: replica.name, port: replica.upstream.port }, 'serving');
  }

  /** Lets a replica go once it has answered what it has, without waiting for that. */
  #leave(replica: Replica): void {
    this.#replicas.splice(this.#replicas.indexOf(replica), 1);
    const ending = this.#end(replica).catch((error: unknown) =>
      this.#log.error({ err: error }, 'could not end a replica'),
    );
    this.#ending.add(ending);
    void ending.then(() => this.#ending.delete(ending));
  }

  async #end(replica: Replica): Promise<void> {
    this.#endingNames.add(replica.name);
    try {
      this.#log.info({ replica: replica.name }, 'draining');
      const { promise: over, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, drainTimeoutMs);
      await Promise.race([this.#port.drain(replica.upstream), over]);
      clearTimeout(timer);
      await replica.stop();
      this.#log.info({ replica: replica.name }, 'ended');
    } finally {
      this.#endingNames.delete(replica.name);
    }
  }

  /** Looks at the replicas: those that have ended go, those that do not answer get no requests. */
  async #look(signal: AbortSignal): Promise<void> {
    const states = new Map((await this.#engine.list(signal)).map((state) => [state.name, state]));
    const gone = this.#replicas.filter(({ name }) => states.get(name)?.status !== 'running');
    for (const replica of gone) {
      const state = states.get(replica.name);
      this.#replicas.splice(this.#replicas.indexOf(replica), 1);
      void this.#port.drain(replica.upstream);
      const reason = `the replica "${replica.name}" ended by itself with exit code ${state?.exitCode ?? 'unknown'}: ${await replica.lastLines()}`;
      this.#log.error({ replica: replica.name, exitCode: state?.exitCode }, 'ended by itself');
      this.#crashes.note(reason, performance.now());
      await replica.stop(0);
    }
    await Promise.all(
      this.#replicas.map(async (replica) => {
        replica.failures = (await replica.isReady(signal)) ? 0 : replica.failures + 1;
        const isReady = replica.failures < failuresMax;
        if (isReady !== replica.upstream.isReady)
          this.#log.warn({ replica: replica.name, isReady }, 'readiness changed');
        replica.upstream.isReady = isReady;
        if (this.#port.socket !== undefined) await replica.countRequests(this.#desired, signal);
      }),
    );
    this.#crashes.forgive(performance.now());
  }

  #scale({ replicas, concurrentMax }: HostDesired): void {
    const nowMs = performance.now();
    if (nowMs - this.#lookedAtLoadMs < replicas.refreshSeconds * 990) return;
    this.#lookedAtLoadMs = nowMs;
    const wanted = this.#scaling.look({ atMs: nowMs, load: this.#port.load }, replicas, concurrentMax);
    if (wanted !== this.#wanted) this.#log.info({ from: this.#wanted, to: wanted }, 'scaling');
    this.#wanted = wanted;
  }

  #isHeldBack(): boolean {
    return this.#crashes.isHeldBack(performance.now());
  }

  #giveUp({ revision }: HostDesired, reason: string): void {
    this.#log.error({ revision, reason }, 'gave it up');
    this.#givenUp = { revision, reason };
  }

  #wakeSoon(): void {
    setImmediate(() => this.#wake());
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    clearTimeout(timer);
  }
}

/** Names what a replica is made of. */
function specOf({ replica }: HostDesired): string {
  return digestOf(JSON.stringify(replica)).slice('sha256:'.length, 'sha256:'.length + 12);
}
