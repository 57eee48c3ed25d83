import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { z } from 'zod';
import { type Digest, digestOf } from '../digest.ts';
import { writeDurably } from '../durable-file.ts';
import { FerryError } from '../errors.ts';
import { FileLock } from '../file-lock.ts';
import { BlobFolder, type BlobRange, type BlobSource, type PutBlobOptions } from './blob-folder.ts';
import type { Descriptor } from './descriptor.ts';
import { writeFailure } from './disk-full.ts';
import { type Garbage, reachableFrom, removeUnreached } from './layout-garbage.ts';
import { parseFile, readIfThere } from './layout-file.ts';
import { entryOf, findEntry, withManifest, withoutManifest, withoutTag } from './layout-index.ts';
import {
  childrenOf,
  encodeJson,
  type ImageIndex,
  indexSchema,
  manifestBytesMax,
  type ManifestDocument,
  parseManifest,
} from './manifest.ts';
import { mediaTypes } from './media-types.ts';
import { checkRepository, checkTag } from './reference.ts';
import { UploadSessions } from './upload-sessions.ts';
import type { Expected } from './verified.ts';

/** OCI image-spec 1.1, image-layout.md, "oci-layout file". */
const layoutFileSchema = z.looseObject({ imageLayoutVersion: z.string() });
const layoutVersion = '1.0.0';

/**
 * An OCI image layout on disk, used by several processes at once.
 *
 * Invariants:
 * - `index.json` names only manifests whose blobs, and whose children's blobs, are there and durable;
 * - it changes under the lock file `.lock`, each time by replacing it durably, so a reader needs no lock;
 * - a manifest of a repository is an entry named `<repository>:<tag>`, one a tag, or `<repository>@<digest>` where it has none;
 *   entries that other tools named otherwise are kept and not touched;
 * - a process that is killed at any moment leaves a valid layout, and what it left beside it goes at the next `open`.
 *
 * @see OCI image-spec 1.1, image-layout.md
 */
export class LayoutStore {
  readonly folder: string;
  /** How far uploads of its blobs to registries are. */
  readonly uploads: UploadSessions;
  readonly #blobs: BlobFolder;
  readonly #lock: FileLock;

  private constructor(folder: string) {
    this.folder = folder;
    this.uploads = new UploadSessions(join(folder, '.uploads'));
    this.#blobs = new BlobFolder(folder);
    this.#lock = new FileLock(join(folder, '.lock'));
  }

  /**
   * Opens the layout in a folder, and makes one where there is none.
   * @throws {FerryError} WORKSPACE_TOO_NEW when it is of a layout version that is not known
   * @throws {FerryError} WORKSPACE_CORRUPT when its files are not what they should be
   * @throws {FerryError} DISK_FULL when it cannot be made for want of room
   */
  static async open(folder: string): Promise<LayoutStore> {
    const store = new LayoutStore(folder);
    try {
      await store.#blobs.create();
      await store.#initialise();
      await store.#sweep();
    } catch (error) {
      throw writeFailure(error, `open the image layout "${folder}"`);
    }
    return store;
  }

  /**
   * Stores a blob and gives its digest and size; durable when this comes back.
   * @throws {FerryError} DIGEST_MISMATCH when it is not what was expected
   * @throws {FerryError} DISK_FULL when there is no room; nothing is left behind then
   */
  putBlob(source: BlobSource, options: PutBlobOptions = {}): Promise<{ digest: Digest; size: number }> {
    return this.#blobs.put(source, options);
  }

  /**
   * Stores a blob that may break off on its way, such as one that is pulled over a bad link: what has come is kept and gone on
   * with by the next call for the same blob, from this object or, when this process is gone, from another one.
   * @param source gives the bytes from a place on
   * @throws {FerryError} DIGEST_MISMATCH when it is not what was expected; nothing of it is kept
   * @throws {FerryError} DISK_FULL when there is no room; nothing is left behind then
   */
  putBlobResumably(
    source: (start: number) => AsyncIterable<Uint8Array>,
    expected: Expected,
    signal?: AbortSignal,
  ): Promise<void> {
    return this.#blobs.putResumably(source, expected, signal);
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    return (await this.#blobs.sizeOf(digest)) !== undefined;
  }

  /** Says whether a blob is there, and makes it young, so that no clean-up takes it before it is referred to. */
  renewBlob(expected: Expected): Promise<boolean> {
    return this.#blobs.renew(expected);
  }

  /** Gives a blob's size in bytes, or undefined where it is not there. */
  blobSize(digest: Digest): Promise<number | undefined> {
    return this.#blobs.sizeOf(digest);
  }

  /** Gives the path of a blob's file, for readers that need a file; it is never to be written. */
  blobPath(digest: Digest): string {
    return this.#blobs.pathOf(digest);
  }

  /**
   * Opens a blob, or a range of it, for reading. What the disk gives is not checked here: see `verified`.
   * @throws {FerryError} IMAGE_NOT_FOUND when there is no such blob
   */
  openBlob(digest: Digest, range: BlobRange = {}): Promise<Readable> {
    return this.#blobs.open(digest, range);
  }

  /**
   * Reads a small blob, such as a config, and checks its digest.
   * @throws {FerryError} IMAGE_NOT_FOUND when there is no such blob
   * @throws {FerryError} WORKSPACE_CORRUPT when the file is not what its name says, or over 4 MiB
   */
  async readBlob(digest: Digest): Promise<Uint8Array> {
    const pieces: Uint8Array[] = await (await this.openBlob(digest, { end: manifestBytesMax + 1 })).toArray();
    const bytes = Buffer.concat(pieces);
    if (digestOf(bytes) === digest) return bytes;
    throw new FerryError(
      'WORKSPACE_CORRUPT',
      `Cannot read "${this.blobPath(digest)}": its content has another digest or over ${manifestBytesMax} bytes`,
    );
  }

  /**
   * Stores a manifest or index in a repository, under a tag if one is given; its blobs must be there. Idempotent. What the
   * tag pointed at before stays, by its digest.
   * @throws {FerryError} NAME_INVALID, TAG_INVALID when the name or tag is outside of the rules
   * @throws {FerryError} IMAGE_INVALID when it is no manifest, or what it refers to is not there
   */
  async putManifest(
    repository: string,
    tag: string | undefined,
    bytes: Uint8Array,
    mediaType: string,
  ): Promise<Descriptor> {
    checkRepository(repository);
    if (tag !== undefined) checkTag(tag);
    const document = parseManifest(bytes, mediaType);
    const { digest, size } = document.descriptor;
    await this.putBlob(bytes, { expected: { digest, size } });
    await this.#change(async (index) => {
      await this.#checkChildren(document);
      return withManifest(index, document.descriptor, repository, tag);
    });
    return document.descriptor;
  }

  /** Gives what a tag or digest stands for in a repository, or undefined. */
  async resolve(repository: string, tagOrDigest: string): Promise<Descriptor | undefined> {
    const found = findEntry(await this.#readIndex(), repository, tagOrDigest);
    if (found === undefined) return undefined;
    const { annotations: _name, ...descriptor } = found;
    return descriptor;
  }

  /**
   * Reads what a tag or digest stands for in a repository, or undefined.
   * @throws {FerryError} WORKSPACE_CORRUPT when the file is not what the index says
   */
  async readManifest(repository: string, tagOrDigest: string): Promise<ManifestDocument | undefined> {
    const descriptor = await this.resolve(repository, tagOrDigest);
    if (descriptor === undefined) return undefined;
    return parseManifest(await this.readBlob(descriptor.digest), descriptor.mediaType);
  }

  /** Gives the tags of a repository, sorted. */
  async tags(repository: string): Promise<readonly string[]> {
    const entries = (await this.#readIndex()).manifests.map(entryOf);
    return entries
      .flatMap((entry) => (entry?.repository === repository && entry.tag !== undefined ? [entry.tag] : []))
      .sort();
  }

  /** Gives the repositories, sorted. */
  async repositories(): Promise<readonly string[]> {
    const entries = (await this.#readIndex()).manifests.map(entryOf);
    return [...new Set(entries.flatMap((entry) => entry?.repository ?? []))].sort();
  }

  /** Removes a tag; what it pointed at stays, by its digest. Idempotent. */
  removeTag(repository: string, tag: string): Promise<void> {
    return this.#change((index) => withoutTag(index, repository, tag));
  }

  /** Removes a manifest and all its tags from a repository; its blobs stay for others. Idempotent. */
  removeManifest(repository: string, digest: Digest): Promise<void> {
    return this.#change((index) => withoutManifest(index, repository, digest));
  }

  /**
   * Removes blobs that no manifest of the layout reaches and that have not been touched for a while: one that was just stored may
   * still wait for its manifest. Nothing can be put meanwhile, so nothing is lost to it.
   * @param options.graceMs @default one hour
   */
  async collectGarbage(options: { readonly graceMs?: number } = {}): Promise<Garbage> {
    const untouchedSinceMs = Date.now() - (options.graceMs ?? 60 * 60 * 1000);
    return this.#lock.run(async () => {
      const { manifests } = await this.#readIndex();
      const readBlob = async (digest: Digest): Promise<Uint8Array | undefined> =>
        (await this.hasBlob(digest)) ? this.readBlob(digest) : undefined;
      const reached = await reachableFrom(manifests, readBlob);
      return removeUnreached(this.#blobs.folder, reached, untouchedSinceMs);
    });
  }

  async #initialise(): Promise<void> {
    if ((await this.#readLayoutVersion()) === undefined) {
      await this.#lock.run(async () => {
        if ((await this.#readLayoutVersion()) !== undefined) return;
        const empty: ImageIndex = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] };
        if ((await readIfThere(this.#indexPath)) === undefined) await writeDurably(this.#indexPath, encodeJson(empty));
        await writeDurably(this.#layoutPath, encodeJson({ imageLayoutVersion: layoutVersion }));
      });
    }
    const version = await this.#readLayoutVersion();
    if (version !== layoutVersion) {
      throw new FerryError(
        'WORKSPACE_TOO_NEW',
        `Cannot open the image layout "${this.folder}": its version is "${version}", "${layoutVersion}" was wanted`,
      );
    }
  }

  async #readLayoutVersion(): Promise<string | undefined> {
    const content = await readIfThere(this.#layoutPath);
    return content === undefined
      ? undefined
      : parseFile(this.#layoutPath, content, layoutFileSchema).imageLayoutVersion;
  }

  /** Removes what killed processes left: blobs that were not yet whole, and an index that was not yet in its place. */
  async #sweep(): Promise<void> {
    await this.#blobs.sweep();
    const isLeft = (name: string): boolean => /^(?:index\.json|oci-layout)\..+\.tmp$/.test(name);
    if (!(await readdir(this.folder)).some(isLeft)) return;
    // Under the lock nobody writes one, so what is there then was left.
    await this.#lock.run(async () => {
      const left = (await readdir(this.folder)).filter(isLeft);
      await Promise.all(left.map((name) => rm(join(this.folder, name), { force: true })));
    });
  }

  async #change(change: (index: ImageIndex) => ImageIndex | Promise<ImageIndex>): Promise<void> {
    try {
      await this.#lock.run(async () => {
        const before = await this.#readIndex();
        const after = await change(before);
        if (after !== before) await writeDurably(this.#indexPath, encodeJson(after));
      });
    } catch (error) {
      throw writeFailure(error, `change "${this.#indexPath}"`);
    }
  }

  async #checkChildren(document: ManifestDocument): Promise<void> {
    const { blobs, manifests } = childrenOf(document);
    const sizes = await Promise.all([...blobs, ...manifests].map(async (child) => this.blobSize(child.digest)));
    const wrong = [...blobs, ...manifests].flatMap((child, at) => {
      const size = sizes[at];
      if (size === undefined) return [`"${child.digest}" is not there`];
      return size === child.size ? [] : [`"${child.digest}" has ${size} bytes, not ${child.size}`];
    });
    if (wrong.length === 0) return;
    throw new FerryError(
      'IMAGE_INVALID',
      `Cannot store the manifest "${document.descriptor.digest}": ${wrong.join('; ')}`,
    );
  }

  async #readIndex(): Promise<ImageIndex> {
    const content = (await readIfThere(this.#indexPath)) ?? '';
    return parseFile(this.#indexPath, content, indexSchema);
  }

  get #indexPath(): string {
    return join(this.folder, 'index.json');
  }

  get #layoutPath(): string {
    return join(this.folder, 'oci-layout');
  }
}
