import type { Digest } from '../../shared/digest.ts';
import { copyImage, type CopyProgress } from '../../shared/oci/copy-image.ts';
import { layoutPlace } from '../../shared/oci/layout-place.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import { registryPlace } from '../../shared/oci/registry-place.ts';
import { artifactOf, type Model } from '../models/model.ts';
import { pushModel } from '../models/push-model.ts';
import type { WorkspaceRegistry } from '../workspace/registry.ts';
import type { ManifestBytes } from './image-document.ts';

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
  readonly #registry: WorkspaceRegistry;

  constructor(layout: LayoutStore, registry: WorkspaceRegistry) {
    this.#layout = layout;
    this.#registry = registry;
  }

  /**
   * Pushes an image by its digest, its models' artifacts first, so that the image mounts their layers. Only what the registry does not
   * have is moved. Idempotent.
   * @throws {FerryError} REGISTRY_UNREACHABLE, REGISTRY_REFUSED or TIMEOUT naming the registry
   */
  async push(image: PublishedImage, options: PushOptions = {}): Promise<PushResult> {
    const signal = options.signal === undefined ? {} : { signal: options.signal };
    const from = layoutPlace(this.#layout);
    const { client, prefix } = this.#registry;
    const to = registryPlace(client, this.#layout.uploads);
    let pushed = 0;
    for (const model of image.models) {
      const onProgress = (progress: CopyProgress): void => report(progress, options);
      const where = { layout: this.#layout, registry: this.#registry };
      const { movedBytes } = await pushModel(model, where, { ...signal, onProgress });
      pushed += movedBytes;
    }
    const modelRepositories = new Map(image.models.map((model) => [model.digest, artifactOf(model).repository]));
    const sources = (layer: Digest): readonly string[] => {
      const repository = modelRepositories.get(layer);
      return repository === undefined ? image.relatives(layer) : [repository];
    };
    const { movedBytes, mountedBytes, presentBytes } = await copyImage({
      from: { place: from, repository: image.name, reference: image.digest },
      to: { place: to, repository: prefix + image.name },
      mountFrom: ({ digest }) => sources(digest).map((repository) => prefix + repository),
      ...signal,
      onProgress: (progress) => report(progress, options),
    });
    const sbom = await copyImage({
      from: { place: from, repository: image.name, reference: image.sbom },
      to: { place: to, repository: prefix + image.name },
      ...signal,
    });
    pushed += sbom.movedBytes;
    return { bytesPushed: pushed + movedBytes, bytesMounted: mountedBytes, bytesPresent: presentBytes };
  }

  /** Gives a pushed image a tag, for people and for tools that know no digests. */
  async tag(name: string, tag: string, manifest: ManifestBytes, signal?: AbortSignal): Promise<void> {
    const { client, prefix } = this.#registry;
    await client.putManifest(prefix + name, tag, manifest, signal === undefined ? {} : { signal });
  }
}

function report({ presentBytes, mountedBytes, movedBytes, totalBytes }: CopyProgress, options: PushOptions): void {
  options.onProgress?.(presentBytes + mountedBytes + movedBytes, totalBytes);
}
