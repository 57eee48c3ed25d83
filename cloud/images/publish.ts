import type { Digest } from '../../shared/digest.ts';
import { copyImage, type CopyProgress } from '../../shared/oci/copy-image.ts';
import { layoutPlace } from '../../shared/oci/layout-place.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import type { RegistryClient } from '../../shared/oci/registry-client.ts';
import { registryPlace } from '../../shared/oci/registry-place.ts';
import { artifactOf, type Model } from '../models/model.ts';
import type { ManifestBytes } from './image-document.ts';
import { openRegistry } from './registry.ts';

/** What a push moved, in bytes of blobs. */
export interface PushResult {
  readonly bytesPushed: number;
  /** Made part of the repository from another one of the registry, without moving. */
  readonly bytesMounted: number;
  readonly bytesPresent: number;
}

/** The settings of {@link Publisher.push}. */
export interface PushOptions {
  readonly signal?: AbortSignal;
  /** Told how far it is, in bytes. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** What is pushed. */
export interface PublishedImage {
  readonly name: string;
  readonly digest: Digest;
  /** Digest of the manifest of its SBOM. */
  readonly sbom: Digest;
  readonly models: readonly Model[];
  /** Gives names of other images that have a layer too. */
  readonly relatives: (layer: Digest) => readonly string[];
}

/** Pushes the workspace's images, and the artifacts of their models, to the workspace's registry. */
export class Publisher {
  readonly #layout: LayoutStore;
  readonly #client: RegistryClient;
  readonly #prefix: string;

  /** @param registry `host[:port][/prefix]`, as the workspace's configuration has it */
  constructor(layout: LayoutStore, registry: string) {
    const [host = '', ...prefix] = registry.split('/');
    this.#layout = layout;
    this.#client = openRegistry(host);
    this.#prefix = prefix.map((part) => `${part}/`).join('');
  }

  /**
   * Pushes an image by its digest, its models' artifacts first, so that the image mounts their layers. Only what the registry does not
   * have is moved. Idempotent.
   * @throws {FerryError} REGISTRY_UNREACHABLE, REGISTRY_REFUSED or TIMEOUT naming the registry
   */
  async push(image: PublishedImage, options: PushOptions = {}): Promise<PushResult> {
    const signal = options.signal === undefined ? {} : { signal: options.signal };
    const from = layoutPlace(this.#layout);
    const to = registryPlace(this.#client);
    let pushed = 0;
    for (const model of image.models) {
      const { repository, tag, digest } = artifactOf(model);
      const { movedBytes } = await copyImage({
        from: { place: from, repository, reference: digest },
        to: { place: to, repository: this.#prefix + repository, tags: [tag] },
        ...signal,
        onProgress: (progress) => report(progress, options),
      });
      pushed += movedBytes;
    }
    const modelRepositories = new Map(image.models.map((model) => [model.digest, artifactOf(model).repository]));
    const sources = (layer: Digest): readonly string[] => {
      const repository = modelRepositories.get(layer);
      return repository === undefined ? image.relatives(layer) : [repository];
    };
    const { movedBytes, mountedBytes, presentBytes } = await copyImage({
      from: { place: from, repository: image.name, reference: image.digest },
      to: { place: to, repository: this.#prefix + image.name },
      mountFrom: ({ digest }) => sources(digest).map((repository) => this.#prefix + repository),
      ...signal,
      onProgress: (progress) => report(progress, options),
    });
    const sbom = await copyImage({
      from: { place: from, repository: image.name, reference: image.sbom },
      to: { place: to, repository: this.#prefix + image.name },
      ...signal,
    });
    pushed += sbom.movedBytes;
    return { bytesPushed: pushed + movedBytes, bytesMounted: mountedBytes, bytesPresent: presentBytes };
  }

  /** Gives a pushed image a tag, for people and for tools that know no digests. */
  async tag(name: string, tag: string, manifest: ManifestBytes, signal?: AbortSignal): Promise<void> {
    await this.#client.putManifest(this.#prefix + name, tag, manifest, signal === undefined ? {} : { signal });
  }
}

function report({ presentBytes, mountedBytes, movedBytes, totalBytes }: CopyProgress, options: PushOptions): void {
  options.onProgress?.(presentBytes + mountedBytes + movedBytes, totalBytes);
}
