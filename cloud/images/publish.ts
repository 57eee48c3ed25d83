import type { Digest } from '../../shared/digest.ts';
import { copyImage, type CopyProgress, type CopyRequest, type CopyResult } from '../../shared/oci/copy-image.ts';
import type { Descriptor } from '../../shared/oci/descriptor.ts';
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

/** The artifacts of models on their way; what is not done when this is disposed of is given up. */
export class ModelPush implements AsyncDisposable {
  readonly #ended = new AbortController();
  readonly #pushing: Promise<number>;

  constructor(signal: AbortSignal | undefined, push: (signal: AbortSignal) => Promise<number>) {
    this.#pushing = push(AbortSignal.any([this.#ended.signal, ...(signal ? [signal] : [])]));
    // Whoever waits for it is told.
    this.#pushing.catch(() => undefined);
  }

  /**
   * Waits until all are there. @returns how many bytes were pushed
   * @throws {FerryError} REGISTRY_UNREACHABLE, REGISTRY_REFUSED or TIMEOUT naming the registry
   */
  finish(): Promise<number> {
    return this.#pushing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#pushing.catch(() => undefined);
  }
}

/** Pushes the workspace's images, and the artifacts of their models, to the workspace's registry. */
export class Publisher {
  readonly #layout: LayoutStore;
  readonly #registry: WorkspaceRegistry;

  constructor(layout: LayoutStore, registry: WorkspaceRegistry) {
    this.#layout = layout;
    this.#registry = registry;
  }

  /** Begins to push the artifacts of models, whose layers images then mount. Only what the registry does not have is moved. Idempotent. */
  beginModels(models: readonly Model[], options: PushOptions = {}): ModelPush {
    const where = { layout: this.#layout, registry: this.#registry };
    const onProgress = (progress: CopyProgress): void => report(progress, options);
    return new ModelPush(options.signal, async (signal) => {
      let pushed = 0;
      for (const model of models) pushed += (await pushModel(model, where, { signal, onProgress })).movedBytes;
      return pushed;
    });
  }

  /**
   * Pushes an image by its digest, with its SBOM. The artifacts of its models have to be there: the image mounts their layers. Only what the
   * registry does not have is moved. Idempotent.
   * @throws {FerryError} REGISTRY_UNREACHABLE, REGISTRY_REFUSED or TIMEOUT naming the registry
   */
  async push(image: PublishedImage, options: PushOptions = {}): Promise<PushResult> {
    const { name, digest, models, relatives } = image;
    const from = layoutPlace(this.#layout);
    const { client, prefix } = this.#registry;
    const to = registryPlace(client, this.#layout.uploads);
    const modelRepositories = new Map(models.map((model) => [model.digest, artifactOf(model).repository]));
    const sources = (layer: Digest): readonly string[] => {
      const repository = modelRepositories.get(layer);
      return repository === undefined ? relatives(layer) : [repository];
    };
    const { signal } = options;
    const copy = (request: Pick<CopyRequest, 'mountFrom' | 'onProgress'>, reference: Digest): Promise<CopyResult> =>
      copyImage({
        from: { place: from, repository: name, reference },
        to: { place: to, repository: prefix + name },
        ...(signal && { signal }),
        ...request,
      });
    const mountFrom = ({ digest }: Descriptor): readonly string[] =>
      sources(digest).map((repository) => prefix + repository);
    const onProgress = (progress: CopyProgress): void => report(progress, options);
    // Each waits mostly for the other side to make sure of what it has. Some registries refuse a referrer before what it refers to is there.
    const [ofImage, ofSbom] = await Promise.allSettled([copy({ mountFrom, onProgress }, digest), copy({}, image.sbom)]);
    if (ofImage.status === 'rejected') throw ofImage.reason;
    const { movedBytes, mountedBytes, presentBytes } = ofImage.value;
    const sbom = ofSbom.status === 'fulfilled' ? ofSbom.value : await copy({}, image.sbom);
    return { bytesPushed: movedBytes + sbom.movedBytes, bytesMounted: mountedBytes, bytesPresent: presentBytes };
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
