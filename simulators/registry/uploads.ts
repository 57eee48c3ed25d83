import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.ts';
import type { Digest } from '../../shared/digest.ts';
import { HashedFile } from '../../shared/hashed-file.ts';
import type { Layout } from './layout.ts';
import { Refusal } from './refusal.ts';

/** How many uploads may be open at once, and how long one may stand still. */
const uploadsMax = 1000;
const idleMsMax = 60 * 60 * 1000;

/**
 * A blob that is on its way in, in a file aside.
 *
 * Invariants: a request that breaks off leaves an upload that can go on from where it was; one request at a time adds to it.
 */
export class Upload {
  readonly id: string;
  readonly repository: string;
  readonly path: string;
  /** When it was last added to, for the end of those that were left. */
  usedMs: number;
  readonly #file: FileHandle;
  readonly #content: HashedFile;
  #busy = false;

  constructor(id: string, repository: string, path: string, file: FileHandle, nowMs: number) {
    this.id = id;
    this.repository = repository;
    this.path = path;
    this.#file = file;
    this.#content = new HashedFile(file, { isReadSoon: false });
    this.usedMs = nowMs;
  }

  get bytes(): number {
    return this.#content.bytes;
  }

  get isBusy(): boolean {
    return this.#busy;
  }

  /** @throws {Refusal} BLOB_UPLOAD_INVALID when another request adds to it */
  async append(source: AsyncIterable<Uint8Array>): Promise<void> {
    if (this.#busy) throw new Refusal('BLOB_UPLOAD_INVALID', 'another request adds to this upload', { status: 409 });
    this.#busy = true;
    try {
      await this.#content.append(source);
    } finally {
      this.#busy = false;
    }
  }

  /** Ends it: syncs and closes its file. */
  async finish(): Promise<Digest> {
    this.#busy = true;
    const { digest } = await this.#content.finish();
    await this.#file.close();
    return digest;
  }

  /** Gives it up. */
  async discard(): Promise<void> {
    this.#busy = true;
    await this.#file.close().catch(() => undefined);
    await rm(this.path, { force: true });
  }
}

/** The uploads that are open. They end with the process: what a killed one left is removed when the next one starts. */
export class Uploads {
  readonly #layout: Layout;
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #open = new Map<string, Upload>();

  constructor(layout: Layout, folder: string, clock: Clock) {
    this.#layout = layout;
    this.#folder = folder;
    this.#clock = clock;
  }

  /** Begins with an empty folder; no other process may use it. */
  async create(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
    await mkdir(this.#folder, { recursive: true });
  }

  /** @throws {Refusal} TOOMANYREQUESTS when too many are open */
  async begin(repository: string): Promise<Upload> {
    await this.#discardIdle();
    if (this.#open.size >= uploadsMax) {
      throw new Refusal('TOOMANYREQUESTS', `${uploadsMax} uploads are open, the most there may be`, {
        headers: { 'retry-after': '5' },
      });
    }
    const id = randomUUID();
    const path = this.pathFor(id);
    const upload = new Upload(id, repository, path, await open(path, 'wx'), this.#clock.monotonicMs());
    this.#open.set(id, upload);
    return upload;
  }

  /** @throws {Refusal} BLOB_UPLOAD_UNKNOWN when the repository has no such upload */
  get(repository: string, id: string): Upload {
    const upload = this.#open.get(id);
    if (upload?.repository !== repository) {
      throw new Refusal('BLOB_UPLOAD_UNKNOWN', `there is no upload "${id}" in "${repository}"`);
    }
    upload.usedMs = this.#clock.monotonicMs();
    return upload;
  }

  /**
   * Makes an upload a blob of the layout.
   * @throws {Refusal} DIGEST_INVALID when its bytes have another digest; the upload is gone then
   */
  async finish(upload: Upload, wanted: Digest): Promise<void> {
    if (upload.isBusy) throw new Refusal('BLOB_UPLOAD_INVALID', 'another request adds to this upload', { status: 409 });
    this.#open.delete(upload.id);
    try {
      const digest = await upload.finish();
      if (digest !== wanted)
        throw new Refusal('DIGEST_INVALID', `its bytes have the digest "${digest}", not "${wanted}"`);
      await this.#layout.adopt(upload.path, digest);
    } catch (error) {
      await upload.discard();
      throw error;
    }
  }

  async discard(upload: Upload): Promise<void> {
    this.#open.delete(upload.id);
    await upload.discard();
  }

  /** Gives a path in the folder aside, on the file system of the blobs. */
  pathFor(name: string): string {
    return join(this.#folder, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#open.values()].map((upload) => this.discard(upload)));
  }

  async #discardIdle(): Promise<void> {
    const oldestMs = this.#clock.monotonicMs() - idleMsMax;
    const idle = [...this.#open.values()].filter((upload) => !upload.isBusy && upload.usedMs < oldestMs);
    await Promise.all(idle.map((upload) => this.discard(upload)));
  }
}
