import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { z } from 'zod';
import { type Digest, isDigest } from '../../shared/digest.ts';
import { syncFolder, writeDurably } from '../../shared/durable-file.ts';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import { FileLock } from '../../shared/file-lock.ts';
import { isName } from './route.ts';

// OCI image-spec 1.1, image-layout.md.
const entrySchema = z.looseObject({
  mediaType: z.string(),
  digest: z.custom<Digest>((value) => typeof value === 'string' && isDigest(value)),
  size: z.int().nonnegative(),
  annotations: z.record(z.string(), z.string()).optional(),
});
const indexSchema = z.looseObject({ schemaVersion: z.literal(2), manifests: z.array(entrySchema) });
const refName = 'org.opencontainers.image.ref.name';

type Index = z.infer<typeof indexSchema>;
type IndexEntry = z.infer<typeof entrySchema>;

/** A manifest in a repository, under a tag or under none. */
export interface Held {
  readonly repository: string;
  readonly tag: string | undefined;
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

/**
 * The OCI image layout on disk that the registry serves, and that other programs write to at the same time.
 *
 * Invariants:
 * - a blob's file appears under its digest only when it is whole, checked and synced;
 * - `index.json` changes under the layout's lock file `.lock` alone, by a durable replacement;
 * - an entry `<repository>:<tag>` is a tag, `<repository>@<digest>` a manifest without one; others are not ours and stay.
 */
export class Layout {
  readonly folder: string;
  readonly #lock: FileLock;

  constructor(folder: string) {
    this.folder = folder;
    this.#lock = new FileLock(join(folder, '.lock'));
  }

  /** Makes the layout where there is none. */
  async create(): Promise<void> {
    await mkdir(join(this.folder, 'blobs', 'sha256'), { recursive: true });
    if (await isThere(this.#layoutPath)) return;
    await this.#lock.run(async () => {
      if (await isThere(this.#layoutPath)) return;
      const empty = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] };
      if (!(await isThere(this.#indexPath))) await writeDurably(this.#indexPath, JSON.stringify(empty));
      await writeDurably(this.#layoutPath, JSON.stringify({ imageLayoutVersion: '1.0.0' }));
    });
  }

  /** Gives a text that changes whenever what {@link held} gives may have. */
  async version(): Promise<string> {
    const { ino, mtimeNs, size } = await stat(this.#indexPath, { bigint: true });
    return `${ino}-${mtimeNs}-${size}`;
  }

  /** Gives every manifest that a repository holds. */
  async held(): Promise<readonly Held[]> {
    return (await this.#readIndex()).manifests.flatMap((entry) => heldBy(entry) ?? []);
  }

  /** Gives a blob's size in bytes, or undefined where it is not there. */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    try {
      return (await stat(this.pathOf(digest))).size;
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  pathOf(digest: Digest): string {
    return join(this.folder, 'blobs', 'sha256', digest.slice('sha256:'.length));
  }

  read(digest: Digest): Promise<Buffer> {
    return readFile(this.pathOf(digest));
  }

  /** @param range first and last byte, both of it */
  stream(digest: Digest, range?: { readonly first: number; readonly last: number }): Readable {
    const part = range === undefined ? {} : { start: range.first, end: range.last };
    return createReadStream(this.pathOf(digest), { highWaterMark: 1024 * 1024, ...part });
  }

  /** Takes a whole, checked and synced file of the same file system as a blob. */
  async adopt(file: string, digest: Digest): Promise<void> {
    await rename(file, this.pathOf(digest));
    await syncFolder(dirname(this.pathOf(digest)));
  }

  /** Makes a blob young, so that it is not taken for garbage before the manifest comes that refers to it. */
  async touch(digest: Digest): Promise<void> {
    const now = new Date();
    await utimes(this.pathOf(digest), now, now);
  }

  /** Stores a small blob of which the digest is known to be right. */
  async store(bytes: Uint8Array, digest: Digest, aside: string): Promise<void> {
    try {
      {
        await using file = await open(aside, 'wx');
        await writeFile(file, bytes);
        await file.datasync();
      }
      await this.adopt(aside, digest);
    } catch (error) {
      await rm(aside, { force: true });
      throw error;
    }
  }

  /** Puts a manifest into a repository. What its tag pointed at before stays, by its digest. */
  hold(held: Held): Promise<void> {
    return this.#change((entries) => {
      const same = (entry: Held): boolean => entry.repository === held.repository && entry.digest === held.digest;
      const before = entries.find((entry) => isTagged(entry, held.repository, held.tag));
      const rest = entries.filter(
        (entry) => entry !== before && !(same(entry) && (entry.tag ?? held.tag) === held.tag),
      );
      if (held.tag === undefined && entries.some(same)) return entries;
      return untag(before, [...rest, held]);
    });
  }

  /** Removes a tag; what it pointed at stays, by its digest. */
  dropTag(repository: string, tag: string): Promise<void> {
    return this.#change((entries) => {
      const before = entries.find((entry) => isTagged(entry, repository, tag));
      return untag(
        before,
        entries.filter((entry) => entry !== before),
      );
    });
  }

  /** Removes a manifest and all its tags from a repository. */
  dropManifest(repository: string, digest: Digest): Promise<void> {
    return this.#change((entries) =>
      entries.filter((entry) => entry.repository !== repository || entry.digest !== digest),
    );
  }

  /**
   * Removes the blobs that are not among those to keep and were last touched before a time, while nobody can change what the
   * layout holds. @param keep decides with everything that the index names, ours and other tools'
   */
  async removeBlobs(
    keep: (named: readonly { readonly mediaType: string; readonly digest: Digest }[]) => Promise<ReadonlySet<Digest>>,
    untouchedSinceMs: number,
  ): Promise<number> {
    return this.#lock.run(async () => {
      const kept = await keep((await this.#readIndex()).manifests);
      let removed = 0;
      for (const name of await readdir(join(this.folder, 'blobs', 'sha256'))) {
        const digest = `sha256:${name}`;
        if (!isDigest(digest) || kept.has(digest)) continue;
        const path = this.pathOf(digest);
        if ((await stat(path)).mtimeMs > untouchedSinceMs) continue;
        await rm(path, { force: true });
        removed += 1;
      }
      return removed;
    });
  }

  async #change(change: (entries: readonly Held[]) => readonly Held[]): Promise<void> {
    await this.#lock.run(async () => {
      const index = await this.#readIndex();
      const before = index.manifests.map((entry) => ({ entry, held: heldBy(entry) }));
      const ours = before.flatMap(({ held }) => held ?? []);
      const after = change(ours);
      const kept = before.filter(({ held }) => held === undefined || after.includes(held)).map(({ entry }) => entry);
      const added = after.filter((held) => !ours.includes(held)).map(entryFor);
      const changed: Index = { ...index, manifests: [...kept, ...added] };
      await writeDurably(this.#indexPath, JSON.stringify(changed));
    });
  }

  async #readIndex(): Promise<Index> {
    try {
      return indexSchema.parse(JSON.parse(await readFile(this.#indexPath, 'utf8')));
    } catch (cause) {
      const message = `Cannot serve "${this.#indexPath}": it is no OCI image index`;
      throw new FerryError('WORKSPACE_CORRUPT', message, { cause });
    }
  }

  get #indexPath(): string {
    return join(this.folder, 'index.json');
  }

  get #layoutPath(): string {
    return join(this.folder, 'oci-layout');
  }
}

function isTagged(entry: Held, repository: string, tag: string | undefined): boolean {
  return tag !== undefined && entry.repository === repository && entry.tag === tag;
}

/** Keeps what a tag pointed at by its digest, unless another entry of its repository has it. */
function untag(before: Held | undefined, entries: readonly Held[]): readonly Held[] {
  if (before === undefined) return entries;
  const isKept = entries.some((entry) => entry.repository === before.repository && entry.digest === before.digest);
  return isKept ? entries : [...entries, { ...before, tag: undefined }];
}

function heldBy({ mediaType, digest, size, annotations }: IndexEntry): Held | undefined {
  const [, repository = '', separator, rest] = /^([^:@]+)([:@])(.+)$/.exec(annotations?.[refName] ?? '') ?? [];
  if (!isName(repository)) return undefined;
  return { repository, tag: separator === ':' ? rest : undefined, mediaType, digest, size };
}

function entryFor({ repository, tag, mediaType, digest, size }: Held): IndexEntry {
  const name = tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`;
  return { mediaType, digest, size, annotations: { [refName]: name } };
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw error;
  }
}
