import type { Clock } from '../../../shared/clock.ts';
import type { PullingEngine } from '../../../shared/containers/pulling-engine.ts';
import type { Digest } from '../../../shared/digest.ts';
import { FerryError, messageOf } from '../../../shared/errors.ts';
import { ArmError } from '../arm-error.ts';
import type { Faults } from '../faults.ts';
import type { KeptGroup } from '../state.ts';
import { Container } from './container.ts';
import type { ContainerDefinition, InitContainerDefinition } from './definition.ts';
import type { EngineWatch } from './engine-watch.ts';
import { credentialFor } from './registry-credential.ts';
import { Volumes } from './volumes.ts';

/** What all container groups share. */
export interface GroupParts {
  readonly pulling: PullingEngine;
  readonly watch: EngineWatch;
  readonly faults: Faults;
  readonly clock: Clock;
  /** How long a container that ended waits before it is started again, at first. */
  readonly backOffMs: number;
}

/** A group's own folder and name on this machine. */
interface GroupPlace {
  /** Letters, digits and hyphens; unique among the groups. */
  readonly engineName: string;
  /** Where its volumes are. */
  readonly folder: string;
}

export type ProvisioningState = 'Pending' | 'Creating' | 'Succeeded' | 'Failed';

/** How often a pull is tried, and how long after the first failure, in milliseconds; doubled after each further one. */
const pullsMax = 3;
const pullAgainMs = 500;
/** How long a group may take until its containers run; the service gives up after 30 minutes. */
const provisioningTimeoutMs = 30 * 60_000;

/** A container group: its containers, and how far it is. What is asked last is what it comes to. */
export class ContainerGroup {
  kept: KeptGroup;
  provisioningState: ProvisioningState = 'Pending';
  /** Why provisioning failed. */
  failure: string | undefined;
  containers: readonly Container[] = [];
  initContainers: readonly Container[] = [];
  readonly #parts: GroupParts;
  readonly #place: GroupPlace;
  readonly #volumes: Volumes;
  #running = new AbortController();
  #provisioning: Promise<void> = Promise.resolve();

  constructor(kept: KeptGroup, parts: GroupParts, place: GroupPlace) {
    this.kept = kept;
    this.#parts = parts;
    this.#place = place;
    this.#volumes = new Volumes(place.folder);
    this.#makeContainers();
  }

  /** How the group is as a whole (container-state, "Container Groups"). */
  get state(): 'Pending' | 'Running' | 'Stopped' | 'Succeeded' | 'Failed' {
    if (this.kept.isStopped) return 'Stopped';
    if (this.provisioningState === 'Failed') return 'Failed';
    if (this.provisioningState !== 'Succeeded') return 'Pending';
    const states = this.containers.map(({ current }) => current);
    if (states.some(({ state }) => state !== 'Terminated')) return 'Running';
    return states.every(({ exitCode }) => exitCode === 0) ? 'Succeeded' : 'Failed';
  }

  /**
   * Ends what ran before, pulls the images, runs the init containers and starts the others.
   * @throws {ArmError} when that cannot be, or it was stopped meanwhile; the group stays, and can be started again
   */
  async provision(): Promise<void> {
    const ended = this.stop();
    const running = new AbortController();
    this.#running = running;
    const work = this.#provision(ended, running.signal);
    this.#provisioning = work.catch(() => undefined);
    await work;
  }

  /** Ends all containers, and provisioning that is under way; their output stays until the group is provisioned again. */
  async stop(): Promise<void> {
    this.#running.abort(new Error('The container group was stopped'));
    await this.#provisioning;
    await Promise.all([...this.containers, ...this.initContainers].map((container) => container.stop()));
  }

  /** Removes what the engine has of it, once it is stopped. */
  async clear(): Promise<void> {
    await Promise.all([...this.containers, ...this.initContainers].map((container) => container.remove()));
  }

  /** Removes all that it has on this machine, once it is stopped. */
  async remove(): Promise<void> {
    await this.clear();
    await this.#volumes.remove();
  }

  async #provision(ended: Promise<void>, running: AbortSignal): Promise<void> {
    const { clock, faults } = this.#parts;
    const signal = AbortSignal.any([running, AbortSignal.timeout(provisioningTimeoutMs)]);
    this.provisioningState = 'Pending';
    this.failure = undefined;
    try {
      await ended;
      await this.clear();
      signal.throwIfAborted();
      this.#makeContainers();
      await clock.sleep(faults.settings.provisioningDelayMs, signal);
      this.provisioningState = 'Creating';
      const { containers, initContainers, volumes } = this.kept.definition.properties;
      await this.#volumes.make(volumes ?? []);
      const images = await this.#pullAll(signal);
      const mountsOf = (definition: InitContainerDefinition | ContainerDefinition) =>
        this.#volumes.mountsOf(definition, volumes ?? []);
      for (const [index, container] of this.initContainers.entries()) {
        const definition = initContainers?.[index];
        if (definition !== undefined)
          await runInit(container, imageOf(images, container), await mountsOf(definition), signal);
      }
      for (const [index, container] of this.containers.entries()) {
        const definition = containers[index];
        if (definition === undefined) continue;
        const restartPolicy = this.kept.definition.properties.restartPolicy ?? 'Always';
        const mounts = await mountsOf(definition);
        // The group's signal, not the one with the time for provisioning: it runs on.
        await container.start(imageOf(images, container), { mounts, restartPolicy, signal: running });
      }
      this.provisioningState = 'Succeeded';
    } catch (error) {
      this.provisioningState = 'Failed';
      this.failure = error instanceof ArmError ? error.message : messageOf(error);
      throw error instanceof ArmError ? error : new ArmError(400, 'Failed', this.failure);
    }
  }

  #makeContainers(): void {
    const { pulling, watch, clock, backOffMs } = this.#parts;
    const { containers, initContainers } = this.kept.definition.properties;
    const make = (definition: InitContainerDefinition | ContainerDefinition): Container =>
      new Container(definition, {
        pulling,
        watch,
        clock,
        backOffMs,
        ip: this.kept.ip,
        engineName: `${this.#place.engineName}-${definition.name}`,
      });
    this.containers = containers.map(make);
    this.initContainers = (initContainers ?? []).map(make);
  }

  async #pullAll(signal: AbortSignal): Promise<ReadonlyMap<string, Digest>> {
    const images = new Map<string, Digest>();
    for (const container of [...this.initContainers, ...this.containers]) {
      if (!images.has(container.image)) images.set(container.image, await this.#pull(container, signal));
    }
    return images;
  }

  async #pull(container: Container, signal: AbortSignal): Promise<Digest> {
    const { pulling, faults, clock } = this.#parts;
    const { image, events } = container;
    for (let attempt = 1; ; attempt += 1) {
      events.add('Pulling', `pulling image "${image}"`);
      try {
        if (faults.failsPull()) throw new FerryError('REGISTRY_UNREACHABLE', 'The fault "failPulls" is on');
        const credential = credentialFor(image, this.kept.definition);
        const digest = await pulling.pull(image, { credential, signal });
        events.add('Pulled', `Successfully pulled image "${image}"`);
        return digest;
      } catch (error) {
        signal.throwIfAborted();
        events.add('Failed', `Failed to pull image "${image}": ${messageOf(error)}`);
        if (attempt === pullsMax) {
          throw new ArmError(400, 'Failed', `Failed to pull image "${image}": ${messageOf(error)}`);
        }
        events.add('BackOff', `Back-off pulling image "${image}"`);
        await clock.sleep(pullAgainMs * 2 ** attempt, signal);
      }
    }
  }
}

async function runInit(
  ...[container, image, mounts, signal]: [Container, ...Parameters<Container['runToEnd']>]
): Promise<void> {
  const exitCode = await container.runToEnd(image, mounts, signal);
  if (exitCode === 0) return;
  throw new ArmError(400, 'Failed', `The init container '${container.name}' ended with exit code ${exitCode}.`);
}

function imageOf(images: ReadonlyMap<string, Digest>, { image }: Container): Digest {
  const digest = images.get(image);
  if (digest === undefined) throw new Error(`The image "${image}" was not pulled`);
  return digest;
}
