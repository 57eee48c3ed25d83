import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../objects.ts';
import { markVariable } from './container-spec.ts';
import type { NodeServices } from './node-services.ts';
import { publishedPorts } from './published-ports.ts';

/**
 * The network of a pod of several containers, which call each other at localhost: a container that does nothing has it, with the ports of all,
 * and the others share it over all their restarts. Processes share the machine's, and a pod of one container has the container's own.
 */
export class PodNetwork {
  readonly #node: NodeServices;
  readonly #pod: Pod;
  readonly #podIp: string;
  readonly #folder: string;
  #isOpen = false;

  constructor(
    node: NodeServices,
    { pod, podIp, volumesFolder }: { readonly pod: Pod; readonly podIp: string; readonly volumesFolder: string },
  ) {
    this.#node = node;
    this.#pod = pod;
    this.#podIp = podIp;
    this.#folder = join(volumesFolder, '.scratch', '.network');
  }

  /** What the engine calls the container that has it; undefined where none does. */
  get holder(): string | undefined {
    const { spec, metadata } = this.#pod;
    const isShared = this.#node.engine.kind === 'docker' && spec.containers.length > 1;
    return isShared ? `${metadata.uid.slice(0, 8)}-network` : undefined;
  }

  /** Makes it; does nothing when it is there. @throws {FerryError} of the engine */
  async open(): Promise<void> {
    const { holder: name } = this;
    if (name === undefined || this.#isOpen) return;
    const { engine, images } = this.#node;
    const image = await images.pause(engine);
    await mkdir(this.#folder, { recursive: true });
    const { exposed, bindings } = publishedPorts(this.#pod.spec.containers, this.#podIp);
    // One that a failed start has left.
    await engine.remove(name);
    await engine.create({
      name,
      image,
      environment: { [markVariable]: name },
      labels: { pod: this.#pod.metadata.uid },
      dataFolder: this.#folder,
      settings: { ExposedPorts: exposed, HostConfig: { PortBindings: bindings }, Hostname: this.#pod.metadata.name },
    });
    await engine.start(name);
    this.#isOpen = true;
  }

  /** Removes it, once the containers are gone. */
  async close(): Promise<void> {
    const { holder } = this;
    if (holder === undefined || !this.#isOpen) return;
    await this.#node.engine.stop(holder, { graceMs: 0 });
    await this.#node.engine.remove(holder);
  }
}
