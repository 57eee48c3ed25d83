import { join } from 'node:path';
import type { Digest } from '../digest.ts';
import { FerryError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { copyImage } from '../oci/copy-image.ts';
import { layoutPlace } from '../oci/layout-place.ts';
import { LayoutStore } from '../oci/layout-store.ts';
import { formatReference, parseReference, type Reference } from '../oci/reference.ts';
import { RegistryClient } from '../oci/registry-client.ts';
import { registryPlace } from '../oci/registry-place.ts';
import type { ContainerEngine } from './engine.ts';
import { openEngine, type OpenEngineOptions } from './open-engine.ts';

/** The settings of {@link PullingEngine.open}. */
export interface PullingEngineOptions {
  readonly engine: OpenEngineOptions['engine'];
  /** Folder of its own: pulled images, and what the engine keeps. */
  readonly folder: string;
  /** Tells its containers from all others on the same Docker engine: letters and digits. */
  readonly owner: string;
  readonly log: Logger;
}

/** How an image is asked for. */
export interface PullOptions {
  /** @default nobody: asks without signing in */
  readonly credential?: { readonly username: string; readonly password: string } | undefined;
  readonly signal: AbortSignal;
}

/** A container engine that gets its images from registries by itself, as a cloud's container service does. */
export class PullingEngine {
  readonly engine: ContainerEngine;
  readonly #layout: LayoutStore;
  /** Pulls under way, by what is pulled: who asks for the same meanwhile waits, and finds it there. */
  readonly #pulls = new Map<string, Promise<unknown>>();

  private constructor(engine: ContainerEngine, layout: LayoutStore) {
    this.engine = engine;
    this.#layout = layout;
  }

  /** @throws {FerryError} ENGINE_FAILED when `docker` is wanted and does not answer */
  static async open({ engine, folder, owner, log }: PullingEngineOptions): Promise<PullingEngine> {
    const layout = await LayoutStore.open(join(folder, 'images'));
    // Its images may have files in common: what pulls for itself here is a simulator's, and no device.
    const neighbours = async (): Promise<readonly string[]> => [];
    return new PullingEngine(await openEngine({ engine, layout, folder, owner, neighbours, log }), layout);
  }

  /**
   * Asks the registry for an image, without moving it.
   * @throws {FerryError} NAME_INVALID, IMAGE_NOT_FOUND, REGISTRY_REFUSED, REGISTRY_UNREACHABLE
   */
  async check(image: string, options: PullOptions): Promise<void> {
    const reference = parseReference(image);
    const { signal } = options;
    const found = await clientFor(reference, options).headManifest(reference.repository, wanted(reference), { signal });
    if (found === undefined) {
      throw new FerryError('IMAGE_NOT_FOUND', `Cannot find "${formatReference(reference)}": the registry has none`);
    }
  }

  /**
   * Gets an image, for this machine's platform, and makes it ready to run; moves only what is missing.
   * @throws {FerryError} what {@link check} throws, and DIGEST_MISMATCH, DISK_FULL, IMAGE_INVALID, PLATFORM_UNSUPPORTED
   */
  async pull(image: string, options: PullOptions): Promise<Digest> {
    const reference = parseReference(image);
    const key = formatReference(reference);
    const before = this.#pulls.get(key) ?? Promise.resolve();
    // Each on its own: another's failure, or its giving up, is not this one's.
    const work = before.catch(() => undefined).then(() => this.#pull(reference, options));
    this.#pulls.set(key, work);
    try {
      return await work;
    } finally {
      if (this.#pulls.get(key) === work) this.#pulls.delete(key);
    }
  }

  async #pull(reference: Reference, options: PullOptions): Promise<Digest> {
    const { repository } = reference;
    const { digest } = await copyImage({
      from: { place: registryPlace(clientFor(reference, options)), repository, reference: wanted(reference) },
      to: { place: layoutPlace(this.#layout), repository },
      platform: { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch },
      signal: options.signal,
    });
    await this.engine.prepareImage(digest, options.signal);
    return digest;
  }
}

function wanted({ digest, tag }: Reference): string {
  return digest ?? tag ?? 'latest';
}

function clientFor({ host }: Reference, { credential }: PullOptions): RegistryClient {
  return new RegistryClient(host, {
    credentials: async () => (credential === undefined ? undefined : { kind: 'password', ...credential }),
  });
}
