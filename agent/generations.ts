import { dirname, join } from 'node:path';
import { z } from 'zod';
import { digestOf } from '../shared/digest.ts';
import { type DesiredState, readDesired } from './desired-state.ts';
import { filesOnDisk, type StateFiles } from './state-files.ts';

const recordSchema = z.object({
  deviceId: z.string(),
  /** What is in force: the digest that names its file. */
  current: z.string().optional(),
  /** Whether all modules of `current` have been ready together. */
  wasReady: z.boolean().default(false),
  /** What ran well before, while `current` may still turn out bad. */
  fallback: z.string().optional(),
  rejected: z.object({ digest: z.string(), reason: z.string() }).optional(),
});

/** A desired state with the properties that it was read from. */
interface Generation {
  /** Of the properties without their version. */
  readonly digest: string;
  readonly state: DesiredState;
  readonly properties: unknown;
}

/** A desired state that was tried and taken back. */
interface Rejected {
  /** Of its properties without their version. */
  readonly digest: string;
  readonly reason: string;
}

/** What became of a desired state that came. */
export type Taking =
  | { readonly kind: 'taken' }
  | { readonly kind: 'kept' }
  | { readonly kind: 'rejected'; readonly reason: string };

/** What is in force, and what is known of it. */
interface Pointers {
  readonly current?: Generation | undefined;
  readonly wasReady: boolean;
  readonly fallback?: Generation | undefined;
  readonly rejected?: Rejected | undefined;
}

/**
 * The desired states that a device has run: the one in force, the one to go back to while that is not proven, and the one that was
 * taken back. Each has a file of its own that never changes, in the folder `generations` beside the one file that points to them.
 * Each change is on the disk before it is acted on; a file that is damaged counts as none.
 *
 * - One that was taken back is not tried again until the deployment changes.
 * - After a restart what was ready once is taken up; what was not gives way to what ran before.
 */
export class Generations {
  readonly #path: string;
  readonly #files: StateFiles;
  readonly #deviceId: string;
  #now: Pointers = { wasReady: false };

  private constructor(path: string, deviceId: string, files: StateFiles) {
    this.#files = files;
    this.#path = path;
    this.#deviceId = deviceId;
  }

  /** Reads back what was kept, if it is of that device. @param path the file that points to what is in force */
  static async open(path: string, deviceId: string, files: StateFiles = filesOnDisk): Promise<Generations> {
    const generations = new Generations(path, deviceId, files);
    const record = recordSchema.safeParse(await generations.#readJson(path));
    if (record.data?.deviceId !== deviceId) return generations;
    const { wasReady, rejected } = record.data;
    const current = await generations.#read(record.data.current);
    const before = await generations.#read(record.data.fallback);
    const isGood = wasReady && current !== undefined;
    generations.#now = {
      current: isGood || before === undefined ? current : before,
      wasReady: isGood || before !== undefined,
      fallback: isGood ? before : undefined,
      rejected,
    };
    return generations;
  }

  /** The desired state in force. */
  get current(): DesiredState | undefined {
    return this.#now.current?.state;
  }

  /** Whether the state in force has still to show that it is good. */
  get isOnProbation(): boolean {
    return !this.#now.wasReady || this.hasFallback;
  }

  /** What there is to go back to. */
  get fallback(): DesiredState | undefined {
    return this.#now.fallback?.state;
  }

  /** Whether there is something to go back to. */
  get hasFallback(): boolean {
    return this.#now.fallback !== undefined;
  }

  /**
   * Takes a desired state that came; it may be the one in force under another version, or one that was taken back.
   * @throws {Error} of the system when it cannot be kept; what is in force stays
   */
  async take(state: DesiredState, properties: unknown): Promise<Taking> {
    const digest = digestOfProperties(properties);
    const { current, wasReady, fallback, rejected } = this.#now;
    if (rejected?.digest === digest) return { kind: 'rejected', reason: rejected.reason };
    const taken = { digest, state, properties };
    if (current?.digest === digest) {
      this.#now = { ...this.#now, current: taken };
      return { kind: 'kept' };
    }
    await this.#change({ current: taken, wasReady: false, fallback: wasReady ? current : fallback });
    return { kind: 'taken' };
  }

  /** Notes that all modules are ready. */
  async noteReady(): Promise<void> {
    if (!this.#now.wasReady) await this.#change({ ...this.#now, wasReady: true });
  }

  /** Notes that the state in force has held: there is no more going back. */
  async commit(): Promise<void> {
    if (this.#now.fallback !== undefined) await this.#change({ ...this.#now, fallback: undefined });
  }

  /**
   * Goes back to what ran before; there must be something. It is in force even when that cannot be written down: what is on the disk then
   * was never ready, and leads back there after a restart too.
   */
  async goBack(reason: string): Promise<void> {
    const { current, fallback } = this.#now;
    if (current === undefined || fallback === undefined) throw new Error('There is nothing to go back to');
    const back = { current: fallback, wasReady: true, rejected: { digest: current.digest, reason } };
    this.#now = back;
    await this.#change(back);
  }

  /** Points elsewhere: first on the disk. What is pointed to is there before, what is not any more goes after. */
  async #change(next: Pointers): Promise<void> {
    const kept = [next.current, next.fallback].filter((generation) => generation !== undefined);
    const there = new Set(await this.#files.list(this.#folder));
    for (const { digest, properties } of kept) {
      if (!there.has(fileName(digest))) {
        await this.#files.write(join(this.#folder, fileName(digest)), JSON.stringify(properties));
      }
    }
    const record = {
      deviceId: this.#deviceId,
      current: next.current?.digest,
      wasReady: next.wasReady,
      fallback: next.fallback?.digest,
      rejected: next.rejected,
    };
    await this.#files.write(this.#path, JSON.stringify(record));
    this.#now = next;
    const names = new Set(kept.map(({ digest }) => fileName(digest)));
    for (const name of there) if (!names.has(name)) await this.#files.remove(join(this.#folder, name));
  }

  /** Reads a generation; nothing where its file is gone, or is not what its name says. */
  async #read(digest: string | undefined): Promise<Generation | undefined> {
    if (digest === undefined) return undefined;
    const properties = await this.#readJson(join(this.#folder, fileName(digest)));
    const reading = readDesired(properties);
    return reading.code === 200 && digestOfProperties(properties) === digest
      ? { digest, state: reading.state, properties }
      : undefined;
  }

  async #readJson(path: string): Promise<unknown> {
    try {
      return JSON.parse(await this.#files.read(path));
    } catch {
      return undefined;
    }
  }

  get #folder(): string {
    return join(dirname(this.#path), 'generations');
  }
}

function fileName(digest: string): string {
  return `${digest.replace(':', '-')}.json`;
}

function digestOfProperties(properties: unknown): string {
  return digestOf(
    JSON.stringify(properties, (name, value: unknown) => (name === '$version' ? undefined : value)) ?? '',
  );
}
