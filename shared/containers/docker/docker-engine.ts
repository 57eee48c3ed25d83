import { existsSync } from 'node:fs';
import type Dockerode from 'dockerode';
import type { Digest } from '../../digest.ts';
import { withDeadline } from '../../deadline.ts';
import { FerryError, messageOf, systemCodeOf } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import type { LayoutStore } from '../../oci/layout-store.ts';
import type {
  ContainerEngine,
  ContainerSpec,
  ContainerState,
  LogSelection,
  StartOptions,
  StopOptions,
} from '../engine.ts';
import { containerAccount, giveFolder, isRoot, parseAccount } from '../process/account.ts';
import { containerBody, nameLabel, ownerLabel } from './container-body.ts';
import { isPodman, pullWithPodman } from './podman-pull.ts';
import { LoopbackRegistry } from './loopback-registry.ts';
import { splitStreams } from './split-streams.ts';

/** The settings of {@link DockerEngine.open}. */
export interface DockerEngineOptions {
  /** OCI image layout that images are taken from. */
  readonly layout: LayoutStore;
  /** Tells this owner's containers from all others on the same engine: letters and digits. */
  readonly owner: string;
  /** Network that containers are put in, where they find each other by name; made when it is not there. @default Docker's own */
  readonly network?: string;
  /** Socket file that the engine listens on. @default what `DOCKER_HOST` names, else the standard one of Docker or Podman */
  readonly socketPath?: string;
  readonly log: Logger;
}

/** How long Docker may take to say that it is there, in milliseconds. */
const pingTimeoutMs = 3_000;

/**
 * Runs containers on a Docker engine, or on what speaks its API (Podman). Images come from the owner's layout over a
 * registry on this machine's loopback, so Docker checks every digest itself and shares layers between images.
 */
export class DockerEngine implements ContainerEngine {
  readonly kind = 'docker';
  readonly #docker: Dockerode;
  readonly #options: DockerEngineOptions;
  readonly #isPodman: boolean;
  #networkIsThere = false;

  private constructor(docker: Dockerode, options: DockerEngineOptions & { readonly isPodman: boolean }) {
    this.#docker = docker;
    this.#isPodman = options.isPodman;
    this.#options = options;
  }

  /**
   * Connects to an engine.
   * @throws {FerryError} ENGINE_FAILED when none answers
   */
  static async open(options: DockerEngineOptions): Promise<DockerEngine> {
    // Loaded only where it is used: it costs memory on a device that runs processes.
    const { default: Docker } = await import('dockerode');
    const socketPath = options.socketPath ?? standardSocket();
    const docker = new Docker(socketPath === undefined ? {} : { socketPath });
    try {
      const isThere = { doing: 'reach a Docker engine', timeoutMs: pingTimeoutMs };
      return new DockerEngine(docker, { ...options, isPodman: await withDeadline(isThere, () => isPodman(docker)) });
    } catch (cause) {
      throw new FerryError('ENGINE_FAILED', 'Cannot reach a Docker engine: none answers', {
        cause,
        next: 'Start Docker, set DOCKER_HOST, or run modules as processes with --engine process.',
      });
    }
  }

  async prepareImage(image: Digest, signal?: AbortSignal): Promise<void> {
    if (await this.#hasImage(image)) return;
    this.#options.log.info({ image }, 'handing the image over to Docker');
    await using registry = await LoopbackRegistry.open(this.#options.layout);
    const reference = registry.reference(image);
    await this.#do(`take over the image "${image}"`, async () => {
      await this.#pull(reference, signal);
      // Its own name for it, because the registry's port is another the next time; the tag also keeps it from being pruned.
      await this.#docker.getImage(reference).tag({ repo: imageRepository, tag: imageTag(image) });
      await this.#docker.getImage(reference).remove();
    });
  }

  async forgetImage(image: Digest): Promise<void> {
    await this.#do(`remove the image "${image}"`, () =>
      ignoreMissing(this.#docker.getImage(imageName(image)).remove()),
    );
  }

  async list(signal?: AbortSignal): Promise<readonly ContainerState[]> {
    return this.#do('list containers', async () => {
      const found = await this.#docker.listContainers({
        all: true,
        filters: JSON.stringify({ label: [`${ownerLabel}=${this.#options.owner}`] }),
        ...(signal === undefined ? {} : { abortSignal: signal }),
      });
      const states = await Promise.all(found.map(({ Id }) => this.#inspect(Id)));
      return states.filter((state) => state !== undefined).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    });
  }

  async create(spec: ContainerSpec, signal?: AbortSignal): Promise<void> {
    await this.#do(`create "${spec.name}"`, async () => {
      const account = await this.#giveDataFolder(spec);
      await this.#ensureNetwork();
      const body = containerBody(spec, {
        owner: this.#options.owner,
        image: imageName(spec.image),
        ...(this.#options.network === undefined ? {} : { network: this.#options.network }),
        ...(spec.networkOf === undefined ? {} : { networkOf: this.#containerName(spec.networkOf) }),
        ...(account === undefined ? {} : { user: `${account.uid}:${account.gid}` }),
      });
      await this.#docker.createContainer({
        ...body,
        name: this.#containerName(spec.name),
        ...(signal === undefined ? {} : { abortSignal: signal }),
      });
    });
  }

  async start(name: string, { signal, socket }: StartOptions = {}): Promise<void> {
    if (socket !== undefined)
      throw new FerryError('ENGINE_FAILED', `Cannot start "${name}": a container takes no socket over`);
    await this.#do(`start "${name}"`, () =>
      ignoreUnchanged(this.#container(name).start(signal === undefined ? {} : { abortSignal: signal })),
    );
  }

  async stop(name: string, { graceMs, signal }: StopOptions): Promise<void> {
    await this.#do(`stop "${name}"`, () =>
      ignoreMissing(
        ignoreUnchanged(
          this.#container(name).stop({
            t: Math.ceil(graceMs / 1000),
            ...(signal === undefined ? {} : { abortSignal: signal }),
          }),
        ),
      ),
    );
  }

  async remove(name: string, signal?: AbortSignal): Promise<void> {
    await this.#do(`remove "${name}"`, () =>
      ignoreMissing(
        this.#container(name).remove({ v: true, ...(signal === undefined ? {} : { abortSignal: signal }) }),
      ),
    );
  }

  async logs(name: string, selection: LogSelection = {}): Promise<string> {
    return this.#do(`read the output of "${name}"`, async () => {
      const bytes = await this.#container(name).logs({
        stdout: true,
        stderr: true,
        follow: false,
        ...(selection.tail === undefined ? {} : { tail: selection.tail }),
        ...(selection.sinceMs === undefined ? {} : { since: selection.sinceMs / 1000 }),
        ...(selection.untilMs === undefined ? {} : { until: selection.untilMs / 1000 }),
      });
      return splitStreams(bytes);
    });
  }

  /** Leaves every container running. */
  async [Symbol.asyncDispose](): Promise<void> {}

  #container(name: string): Dockerode.Container {
    return this.#docker.getContainer(this.#containerName(name));
  }

  #containerName(name: string): string {
    return `mf-${this.#options.owner}-${name}`;
  }

  async #inspect(id: string): Promise<ContainerState | undefined> {
    const info = await ignoreMissing(this.#docker.getContainer(id).inspect());
    if (info === undefined) return undefined;
    const { State: state, Config: config } = info;
    return {
      name: config.Labels[nameLabel] ?? '',
      labels: config.Labels,
      status: statusOf(state.Status),
      exitCode: state.ExitCode,
      ...(isTime(state.StartedAt) ? { startedAt: state.StartedAt } : {}),
      ...(isTime(state.FinishedAt) ? { finishedAt: state.FinishedAt } : {}),
    };
  }

  async #hasImage(image: Digest): Promise<boolean> {
    return (
      (await this.#do('look for an image', () => ignoreMissing(this.#docker.getImage(imageName(image)).inspect()))) !==
      undefined
    );
  }

  async #pull(reference: string, signal: AbortSignal | undefined): Promise<void> {
    if (this.#isPodman) return pullWithPodman(this.#docker, reference, signal);
    const progress = await this.#docker.pull(reference, signal === undefined ? {} : { abortSignal: signal });
    await this.#followPull(progress, signal);
  }

  /** Waits for the end of a pull; Docker says in the stream, not by a status, that one has failed. */
  async #followPull(progress: NodeJS.ReadableStream, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    this.#docker.modem.followProgress(progress, (error: Error | null) => (error === null ? resolve() : reject(error)));
    await promise;
  }

  /** Gives the data folder to the user that the container runs as, and says which one where that is not the image's own. */
  async #giveDataFolder(spec: ContainerSpec): Promise<typeof containerAccount | undefined> {
    if (spec.settings.User !== undefined) return undefined;
    // Without root's rights no folder can be given away, so the container takes the user of the one there is.
    if (!isRoot()) return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    const { Config: config } = await this.#docker.getImage(imageName(spec.image)).inspect();
    if (config.User) await giveFolder(spec.dataFolder, parseAccount(config.User) ?? containerAccount);
    return undefined;
  }

  async #ensureNetwork(): Promise<void> {
    const { network } = this.#options;
    if (network === undefined || this.#networkIsThere) return;
    const found = await ignoreMissing(this.#docker.getNetwork(network).inspect());
    if (found === undefined) {
      await this.#docker.createNetwork({ Name: network, CheckDuplicate: true }).catch((error: unknown) => {
        // Another program made it meanwhile.
        if (statusCodeOf(error) !== 409) throw error;
      });
    }
    this.#networkIsThere = true;
  }

  async #do<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof FerryError) throw cause;
      throw engineError(what, cause);
    }
  }
}

/** Where Podman listens when it runs as root. */
const podmanSocket = '/run/podman/podman.sock';

/** Gives Podman's socket where there is no other; what is not said here the client finds itself. */
function standardSocket(): string | undefined {
  const isPodmanAlone = !process.env['DOCKER_HOST'] && !existsSync('/var/run/docker.sock') && existsSync(podmanSocket);
  return isPodmanAlone ? podmanSocket : undefined;
}

const imageRepository = 'modelferry.local/image';

function imageTag(image: Digest): string {
  return image.replace(':', '-');
}

function imageName(image: Digest): string {
  return `${imageRepository}:${imageTag(image)}`;
}

function statusOf(status: string): ContainerState['status'] {
  if (status === 'running' || status === 'created' || status === 'dead') return status;
  return 'exited';
}

/** Docker writes year 1 for "never". */
function isTime(text: string): boolean {
  return text !== '' && !text.startsWith('0001-');
}

async function ignoreMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (statusCodeOf(error) === 404) return undefined;
    throw error;
  }
}

/** Docker answers 304 to what is done already. */
async function ignoreUnchanged<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (statusCodeOf(error) === 304) return undefined;
    throw error;
  }
}

function statusCodeOf(error: unknown): number | undefined {
  return error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
    ? error.statusCode
    : undefined;
}

function engineError(what: string, cause: unknown): FerryError {
  const text = messageOf(cause);
  if (/port is already allocated|address already in use/i.test(text)) {
    const port = /(?:for|bind for|listen tcp4?|tcp) (\S+?)(?::? (?:failed|bind)|$)/i.exec(text)?.[1] ?? '';
    return new FerryError('PORT_IN_USE', `Cannot ${what}${port && ` on ${port}`}: another program listens there`, {
      cause,
      next: 'Choose another HostPort in the PortBindings of its createOptions.',
    });
  }
  if (/no space left on device/i.test(text) || systemCodeOf(cause) === 'ENOSPC') {
    return new FerryError('DISK_FULL', `Cannot ${what}: no space is left on the device of the engine`, { cause });
  }
  return new FerryError('ENGINE_FAILED', `Cannot ${what}: the Docker engine refuses`, { cause });
}
