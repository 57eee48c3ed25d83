import { mkdir } from 'node:fs/promises';
import type { ContainerEngine } from '../../../shared/containers/engine.ts';
import { readImage } from '../../../shared/containers/image-layout.ts';
import { withDeadline } from '../../../shared/deadline.ts';
import { isDigest, type Digest } from '../../../shared/digest.ts';
import { copyImage } from '../../../shared/oci/copy-image.ts';
import { layoutPlace } from '../../../shared/oci/layout-place.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { parseReference } from '../../../shared/oci/reference.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { registryPlace } from '../../../shared/oci/registry-place.ts';
import { putPauseImage } from './pause-image.ts';

/** How long an image may take to come, in milliseconds. */
const pullTimeoutMs = 10 * 60 * 1000;

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The images that a node has, in an OCI layout of its own; what is missing is pulled from the registry that the image names. */
export class Images {
  readonly layout: LayoutStore;
  #pause: Promise<Digest> | undefined;
  readonly #pulling = new Map<string, Promise<Digest>>();

  private constructor(layout: LayoutStore) {
    this.layout = layout;
  }

  static async open(folder: string): Promise<Images> {
    await mkdir(folder, { recursive: true });
    return new Images(await LayoutStore.open(folder));
  }

  /**
   * Sees to it that an image is here and ready to run, and gives the digest of its manifest for this machine. An image that is wanted
   * twice at a time is pulled once.
   * @throws {FerryError} of the registry, or of the image
   */
  async pull(image: string, policy: string, engine: ContainerEngine): Promise<Digest> {
    const running = this.#pulling.get(image);
    if (running !== undefined) return running;
    const pull = this.#prepare(image, policy, engine).finally(() => this.#pulling.delete(image));
    this.#pulling.set(image, pull);
    return pull;
  }

  /** Sees to it that the image of a program that does nothing is ready to run. */
  async pause(engine: ContainerEngine): Promise<Digest> {
    this.#pause ??= putPauseImage(this.layout).then(async (digest) => {
      await engine.prepareImage(digest);
      return digest;
    });
    // What failed is tried again the next time.
    this.#pause.catch(() => (this.#pause = undefined));
    return this.#pause;
  }

  /** The user that an image's program runs as where nobody says another one. */
  async userOf(image: Digest): Promise<string> {
    return (await readImage(this.layout, image)).config.config?.User ?? '';
  }

  /** Others may wait for it too, so it does not end with the first pod that wanted it. */
  async #prepare(image: string, policy: string, engine: ContainerEngine): Promise<Digest> {
    const digest = await withDeadline({ doing: `pull "${image}"`, timeoutMs: pullTimeoutMs }, (signal) =>
      this.#pull(image, policy, signal),
    );
    await engine.prepareImage(digest);
    return digest;
  }

  async #pull(image: string, policy: string, signal: AbortSignal): Promise<Digest> {
    const reference = parseReference(image);
    const repository = `${reference.host}/${reference.repository}`.replaceAll(':', '-');
    const tag = reference.tag ?? 'latest';
    const name = reference.digest ?? tag;
    if (policy !== 'Always' || reference.digest !== undefined) {
      const here = await this.layout.resolve(repository, name);
      if (here !== undefined && isDigest(here.digest)) return here.digest;
    }
    const { digest } = await copyImage({
      from: {
        place: registryPlace(new RegistryClient(reference.host)),
        repository: reference.repository,
        reference: name,
      },
      to: {
        place: layoutPlace(this.layout),
        repository,
        ...(reference.digest === undefined ? { tags: [tag] } : {}),
      },
      platform: { os: 'linux', architecture: architectures[process.arch] ?? process.arch },
      signal,
    });
    return digest;
  }
}
