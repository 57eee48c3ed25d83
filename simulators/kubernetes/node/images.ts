import { mkdir } from 'node:fs/promises';
import { readImage } from '../../../shared/containers/image-layout.ts';
import { isDigest, type Digest } from '../../../shared/digest.ts';
import { copyImage } from '../../../shared/oci/copy-image.ts';
import { layoutPlace } from '../../../shared/oci/layout-place.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { parseReference } from '../../../shared/oci/reference.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { registryPlace } from '../../../shared/oci/registry-place.ts';

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The images that a node has, in an OCI layout of its own; what is missing is pulled from the registry that the image names. */
export class Images {
  readonly layout: LayoutStore;
  readonly #pulling = new Map<string, Promise<Digest>>();

  private constructor(layout: LayoutStore) {
    this.layout = layout;
  }

  static async open(folder: string): Promise<Images> {
    await mkdir(folder, { recursive: true });
    return new Images(await LayoutStore.open(folder));
  }

  /**
   * Sees to it that an image is here, and gives the digest of its manifest for this machine. An image that is wanted twice at a time is
   * pulled once.
   * @throws {FerryError} of the registry, or of the image
   */
  async pull(image: string, policy: string, signal: AbortSignal): Promise<Digest> {
    const running = this.#pulling.get(image);
    if (running !== undefined) return running;
    const pull = this.#pull(image, policy, signal).finally(() => this.#pulling.delete(image));
    this.#pulling.set(image, pull);
    return pull;
  }

  /** The user that an image's program runs as where nobody says another one. */
  async userOf(image: Digest): Promise<string> {
    return (await readImage(this.layout, image)).config.config?.User ?? '';
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
