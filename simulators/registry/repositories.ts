import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestOf } from '../../shared/digest.ts';
import { systemCodeOf } from '../../shared/errors.ts';
import { type Descriptor, type Document, isDocumentType, parseDocument } from './document.ts';
import type { Held, Layout } from './layout.ts';

/** What a manifest is called in answers. */
export interface HeldManifest {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly document: Document;
}

/** All that one repository shows. */
export interface Repository {
  readonly tags: ReadonlyMap<string, Digest>;
  readonly manifests: ReadonlyMap<Digest, HeldManifest>;
  /** What its manifests refer to. */
  readonly blobs: ReadonlySet<Digest>;
}

/** What was read of one state of the layout's index. */
interface Seen {
  readonly version: string;
  readonly held: readonly Held[];
  readonly repositories: Map<string, Promise<Repository>>;
}

/** How many parsed manifests are remembered; a manifest never changes, so one is forgotten only for room. */
const documentsMax = 10_000;

/**
 * What each repository shows: the manifests that the layout holds for it, the blobs that these refer to, and the blobs that
 * were uploaded or mounted for a manifest still to come. The last are empty files named after them, so that a restart between
 * the two forgets nothing.
 */
export class Repositories {
  readonly #layout: Layout;
  readonly #links: string;
  readonly #documents = new Map<Digest, Document>();
  #seen: Seen | undefined;

  /** @param links folder of the files that tell which blobs were uploaded to which repository */
  constructor(layout: Layout, links: string) {
    this.#layout = layout;
    this.#links = links;
  }

  /** Gives the names of all repositories that hold a manifest, sorted. */
  async names(): Promise<readonly string[]> {
    const { held } = await this.#current();
    const names = held.map(({ repository }) => repository);
    return [...new Set(names)].sort(byCodeUnits);
  }

  /** Gives what a repository shows by its manifests, or undefined where it has none. */
  async get(name: string): Promise<Repository | undefined> {
    const { held, repositories } = await this.#current();
    const own = held.filter(({ repository }) => repository === name);
    if (own.length === 0) return undefined;
    const known = repositories.get(name) ?? this.#read(own);
    repositories.set(name, known);
    // A read that failed is not remembered.
    known.catch(() => repositories.delete(name));
    return known;
  }

  /** Gives the size in bytes of a blob that the repository shows, or undefined. */
  async blobSize(name: string, digest: Digest): Promise<number | undefined> {
    const shown = (await this.#isLinked(name, digest)) || (await this.get(name))?.blobs.has(digest) === true;
    return shown ? this.#layout.sizeOf(digest) : undefined;
  }

  /** Makes a blob, which must be there, part of a repository. */
  async link(name: string, digest: Digest): Promise<void> {
    await this.#layout.touch(digest);
    await mkdir(join(this.#links, name, '_blobs'), { recursive: true });
    await writeFile(this.#linkPath(name, digest), '');
  }

  /** Takes a blob out of a repository that no manifest of it refers to. */
  async unlink(name: string, digest: Digest): Promise<void> {
    await rm(this.#linkPath(name, digest), { force: true });
  }

  /** Gives every blob that something which the index names refers to, these included. */
  async reached(
    named: readonly { readonly mediaType: string; readonly digest: Digest }[],
  ): Promise<ReadonlySet<Digest>> {
    const reached = new Set<Digest>();
    const waiting = [...named];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (reached.has(next.digest)) continue;
      reached.add(next.digest);
      if (!isDocumentType(next.mediaType)) continue;
      const document = await this.#document(next.digest, next.mediaType);
      for (const blob of document?.blobs ?? []) reached.add(blob.digest);
      waiting.push(...(document?.manifests ?? []));
    }
    return reached;
  }

  async #isLinked(name: string, digest: Digest): Promise<boolean> {
    try {
      await stat(this.#linkPath(name, digest));
      return true;
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return false;
      throw error;
    }
  }

  #linkPath(name: string, digest: Digest): string {
    // No component of a repository's name begins with "_".
    return join(this.#links, name, '_blobs', digest.slice('sha256:'.length));
  }

  async #current(): Promise<Seen> {
    const version = await this.#layout.version();
    if (this.#seen?.version !== version) {
      this.#seen = { version, held: await this.#layout.held(), repositories: new Map() };
    }
    return this.#seen;
  }

  async #read(own: readonly Held[]): Promise<Repository> {
    const tags = new Map<string, Digest>();
    const manifests = new Map<Digest, HeldManifest>();
    const blobs = new Set<Digest>();
    const waiting: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>[] = [...own];
    for (const { tag, digest } of own) if (tag !== undefined) tags.set(tag, digest);
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { mediaType, digest, size } = next;
      if (manifests.has(digest)) continue;
      const document = await this.#document(digest, mediaType);
      if (document === undefined) continue;
      manifests.set(digest, { mediaType, digest, size, document });
      for (const blob of document.blobs) blobs.add(blob.digest);
      // What an index lists can be pulled by its digest, whether the layout names it or not.
      waiting.push(...document.manifests);
    }
    return { tags, manifests, blobs };
  }

  /** Gives what a manifest says, or undefined where it is not there: an index may list platforms that were never fetched. */
  async #document(digest: Digest, mediaType: string): Promise<Document | undefined> {
    const known = this.#documents.get(digest);
    if (known !== undefined) return known;
    if ((await this.#layout.sizeOf(digest)) === undefined) return undefined;
    const bytes = await this.#layout.read(digest);
    if (digestOf(bytes) !== digest) throw new Error(`The file of "${digest}" has another digest`);
    const document = parseDocument(bytes, mediaType);
    const oldest = this.#documents.keys().next();
    if (this.#documents.size >= documentsMax && oldest.done !== true) this.#documents.delete(oldest.value);
    this.#documents.set(digest, document);
    return document;
  }
}

/** The order that lists have; `last` is compared in the same one. */
export function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
