import { readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.ts';
import type { Digest } from '../../shared/digest.ts';
import { FerryError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Descriptor } from '../../shared/oci/descriptor.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import type { Manifest, ManifestDocument } from '../../shared/oci/manifest.ts';
import { formatReference, parseReference, type Reference } from '../../shared/oci/reference.ts';
import { inParallel } from '../../shared/in-parallel.ts';
import type { BandwidthLimit } from './bandwidth-limit.ts';
import { BlobTurns } from './blob-turns.ts';
import { downloadBlob } from './download-blob.ts';
import type { RegistryClient } from '../../shared/oci/registry-client.ts';
import type { RegistryCredential } from '../../shared/oci/registry-credentials.ts';

/** The settings of {@link ImageStore.open}. */
export interface ImageStoreOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** What all pulls together may take of the link. @default all of it */
  readonly limit?: BandwidthLimit;
}

/** The settings of one {@link ImageStore.ensure}. */
export interface EnsureOptions {
  /** `never`: only what is there already is taken. */
  readonly pullPolicy: 'on-create' | 'never';
  /** @default nobody: asks without signing in */
  readonly credential?: RegistryCredential;
  /** Is asked to remove what is not used until there is enough room. @default nothing is removed */
  readonly makeRoom?: (isEnough: () => Promise<boolean>) => Promise<void>;
  readonly signal: AbortSignal;
}

/** An image that is on its way to the device. */
export interface Pull {
  readonly image: string;
  /** What came since it was begun, in bytes. */
  readonly gotBytes: number;
  /** What was missing then, in bytes. */
  readonly totalBytes: number;
}

/** Blobs that are got at the same time. */
const parallelBlobs = 4;
/** What is left free on the disk, in bytes, for the modules' data and logs. */
const reserveBytes = 64 * 1024 * 1024;
/** How often the progress of a pull is logged, in milliseconds. */
const progressEveryMs = 5_000;

/**
 * The device's own images, in an OCI layout: nothing is got twice, each blob is checked, and what was begun is gone on with. A tag is
 * asked for once; from then on it is what it was, until the deployment names another.
 */
export class ImageStore {
  readonly #layout: LayoutStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #limit: BandwidthLimit | undefined;
  readonly #pulls = new Map<string, Pull>();
  readonly #turns = new BlobTurns();

  private constructor(layout: LayoutStore, options: ImageStoreOptions) {
    this.#layout = layout;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#limit = options.limit;
  }

  /** Opens the images in a folder. */
  static async open(folder: string, options: ImageStoreOptions): Promise<ImageStore> {
    return new ImageStore(await LayoutStore.open(folder), options);
  }

  /** The images that are being pulled. */
  get pulls(): readonly Pull[] {
    return [...this.#pulls.values()];
  }

  /** The images themselves. */
  get layout(): LayoutStore {
    return this.#layout;
  }

  /**
   * Sees to it that an image is here, wholly, and gives the digest of its manifest for this platform.
   * @param image as a deployment names it: by digest or by tag
   * @throws {FerryError} NAME_INVALID, IMAGE_NOT_FOUND, IMAGE_INVALID, DIGEST_MISMATCH, PLATFORM_UNSUPPORTED, DISK_FULL,
   * REGISTRY_REFUSED, REGISTRY_UNREACHABLE
   */
  async ensure(image: string, options: EnsureOptions): Promise<Digest> {
    const reference = parseReference(image);
    const here = await this.#find(reference);
    if (here !== undefined) return here;
    if (options.pullPolicy === 'never') {
      throw new FerryError('IMAGE_NOT_FOUND', `Cannot use "${image}": it is not on the device, and must not be pulled`);
    }
    // Loaded when there is first something to pull: it costs memory on a device that has all it needs.
    const { RegistryClient: Client } = await import('../../shared/oci/registry-client.ts');
    const registry = new Client(reference.host, { credentials: async () => options.credential, clock: this.#clock });
    const document = await fetchManifest(registry, reference, options.signal);
    await this.#fetchBlobs(registry, reference, document.manifest, options);
    const { descriptor, bytes } = document;
    await this.#layout.putManifest(repositoryOf(reference), tagOf(reference), bytes, descriptor.mediaType);
    return descriptor.digest;
  }

  /** Removes an image, and the blobs that no other one has; does nothing when it is not here. */
  async forget(image: Digest): Promise<void> {
    for (const repository of await this.#layout.repositories()) await this.#layout.removeManifest(repository, image);
    await this.#layout.collectGarbage();
  }

  /** Removes unfinished downloads that nothing was added to since a time: of images that are no longer wanted. */
  async forgetUnfinished(untouchedSinceMs: number): Promise<void> {
    for (const name of await readdir(this.#partialFolder).catch(() => [])) {
      const path = join(this.#partialFolder, name);
      const { mtimeMs } = await stat(path);
      if (mtimeMs < untouchedSinceMs) await rm(path, { force: true });
    }
  }

  get #partialFolder(): string {
    return join(this.#layout.folder, 'partial');
  }

  /** Finds an image that is here. What stands in the layout's index is here wholly. */
  async #find(reference: Reference): Promise<Digest | undefined> {
    const repository = repositoryOf(reference);
    const byDigest = reference.digest && (await this.#layout.resolve(repository, reference.digest));
    // An index that a deployment names by its digest is not kept itself; its tag leads to this platform's manifest.
    const found = byDigest || (await this.#layout.resolve(repository, tagOf(reference) ?? ''));
    return found?.digest;
  }

  async #fetchBlobs(
    registry: RegistryClient,
    reference: Reference,
    manifest: Manifest,
    { signal, makeRoom }: EnsureOptions,
  ): Promise<void> {
    const missing: Descriptor[] = [];
    for (const blob of [manifest.config, ...manifest.layers]) {
      const known = missing.some(({ digest }) => digest === blob.digest);
      if (!known && (await this.#layout.blobSize(blob.digest)) !== blob.size) missing.push(blob);
    }
    const total = missing.reduce((sum, { size }) => sum + size, 0);
    const image = formatReference(reference);
    if (missing.length > 0) await this.#checkRoom(image, roomFor(total, manifest), makeRoom);
    this.#log.info({ image, blobs: missing.length, bytes: total }, 'pulling');
    let got = 0;
    let toldAtMs = this.#clock.monotonicMs();
    this.#pulls.set(image, { image, gotBytes: 0, totalBytes: total });
    const onBytes = (bytes: number): void => {
      got += bytes;
      this.#pulls.set(image, { image, gotBytes: got, totalBytes: total });
      if (this.#clock.monotonicMs() - toldAtMs < progressEveryMs) return;
      toldAtMs = this.#clock.monotonicMs();
      this.#log.info({ image, got, bytes: total }, 'pulling');
    };
    try {
      await inParallel(missing, { atOnce: parallelBlobs, signal }, (blob, blobSignal) =>
        this.#turns.run(blob.digest, blobSignal, async () => {
          // Another image may have had it too.
          if ((await this.#layout.blobSize(blob.digest)) === blob.size) {
            onBytes(blob.size);
            return;
          }
          await downloadBlob({
            registry,
            repository: reference.repository,
            blob,
            partialFolder: this.#partialFolder,
            path: this.#layout.blobPath(blob.digest),
            signal: blobSignal,
            ...(this.#limit === undefined ? {} : { limit: this.#limit }),
            onBytes,
          });
        }),
      );
    } finally {
      this.#pulls.delete(image);
    }
  }

  /** Sees that the image and what an engine makes of it will fit, before the link is used for it. */
  async #checkRoom(image: string, wanted: number, makeRoom: EnsureOptions['makeRoom']): Promise<void> {
    const free = async (): Promise<number> => {
      const { bavail, bsize } = await statfs(this.#layout.folder);
      return bavail * bsize;
    };
    const isEnough = async (): Promise<boolean> => (await free()) >= wanted;
    if (await isEnough()) return;
    await makeRoom?.(isEnough);
    if (await isEnough()) return;
    throw new FerryError(
      'DISK_FULL',
      `Cannot pull "${image}": ${await free()} bytes are free in "${this.#layout.folder}", ${wanted} were wanted`,
      { next: 'Free some space there; the pull is tried again by itself.' },
    );
  }
}

/** What a pull and the engine's own copy of the image need, in bytes. */
function roomFor(missing: number, { layers }: Manifest): number {
  return missing + layers.reduce((sum, layer) => sum + layer.size, 0) + reserveBytes;
}

/** Gets the manifest of the image for this platform, through an index if that is what the reference names. */
async function fetchManifest(
  registry: RegistryClient,
  reference: Reference,
  signal: AbortSignal,
): Promise<ManifestDocument & { kind: 'manifest' }> {
  const read = async (tagOrDigest: string): Promise<ManifestDocument> => {
    const document = await registry.getManifest(reference.repository, tagOrDigest, { signal });
    if (document !== undefined) return document;
    const what = `Cannot pull "${formatReference(reference)}": the registry "${registry.host}" has no such image`;
    throw new FerryError('IMAGE_NOT_FOUND', what);
  };
  const first = await read(reference.digest ?? reference.tag ?? '');
  if (first.kind === 'manifest') return first;
  const ours = first.index.manifests.find(isForThisMachine);
  if (ours === undefined) {
    const what = `Cannot use "${formatReference(reference)}": it has no image for linux/${architecture()}`;
    throw new FerryError('PLATFORM_UNSUPPORTED', what);
  }
  const second = await read(ours.digest);
  if (second.kind === 'manifest') return second;
  throw new FerryError('IMAGE_INVALID', `Cannot use "${formatReference(reference)}": an index within an index`);
}

/** Repositories of different registries are kept apart; a port's colon may not be in a repository's name. */
function repositoryOf({ host, repository }: Reference): string {
  return `${host
    .toLowerCase()
    .replaceAll(/[^a-z0-9.]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')}/${repository}`;
}

/** The tag that an image is kept under: its own, or one that says the digest that the deployment names. */
function tagOf({ tag, digest }: Reference): string | undefined {
  return digest === undefined ? tag : digest.replace(':', '-');
}

function isForThisMachine({ platform }: Descriptor): boolean {
  return platform?.os === 'linux' && platform.architecture === architecture();
}

/** This processor as OCI calls it. */
function architecture(): string {
  return process.arch === 'x64' ? 'amd64' : process.arch;
}
