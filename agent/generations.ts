import { z } from 'zod';
import { digestOf } from '../shared/digest.ts';
import { type DesiredState, readDesired } from './desired-state.ts';
import type { StateFile } from './state-file.ts';

const recordSchema = z.object({
  deviceId: z.string(),
  /** Desired properties that are in force. */
  current: z.unknown().optional(),
  /** Whether all modules of `current` have been ready together. */
  wasReady: z.boolean().default(false),
  /** Desired properties that ran well before, while `current` may still turn out bad. */
  fallback: z.unknown().optional(),
  rejected: z.object({ digest: z.string(), reason: z.string() }).optional(),
});

/** A desired state with the properties that it was read from. */
interface Generation {
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

/**
 * The desired states that a device has run: the one in force, the one to go back to while that is not proven, and the one that was
 * taken back. Each change is on the disk before it is acted on; a file that is damaged counts as none.
 *
 * - One that was taken back is not tried again until the deployment changes.
 * - After a restart what was ready once is taken up; what was not gives way to what ran before.
 */
export class Generations {
  readonly #file: StateFile;
  readonly #deviceId: string;
  #current: Generation | undefined;
  #wasReady = false;
  #fallback: Generation | undefined;
  #rejected: Rejected | undefined;

  private constructor(file: StateFile, deviceId: string) {
    this.#file = file;
    this.#deviceId = deviceId;
  }

  /** Reads back what was kept in a file, if it is of that device. */
  static async open(file: StateFile, deviceId: string): Promise<Generations> {
    const generations = new Generations(file, deviceId);
    const record = recordSchema.safeParse(parseJson(await file.read().catch(() => '')));
    if (record.data?.deviceId !== deviceId) return generations;
    const { current, wasReady, fallback, rejected } = record.data;
    const before = generationOf(fallback);
    generations.#rejected = rejected;
    generations.#current = wasReady || before === undefined ? generationOf(current) : before;
    generations.#wasReady = wasReady || before !== undefined;
    generations.#fallback = wasReady ? before : undefined;
    return generations;
  }

  /** The desired state in force. */
  get current(): DesiredState | undefined {
    return this.#current?.state;
  }

  /** Whether the state in force has still to show that it is good. */
  get isOnProbation(): boolean {
    return !this.#wasReady || this.hasFallback;
  }

  /** What there is to go back to. */
  get fallback(): DesiredState | undefined {
    return this.#fallback?.state;
  }

  /** Whether there is something to go back to. */
  get hasFallback(): boolean {
    return this.#fallback !== undefined;
  }

  /** Takes a desired state that came; it may be the one in force under another version, or one that was taken back. */
  async take(state: DesiredState, properties: unknown): Promise<Taking> {
    const digest = digestOfProperties(properties);
    if (this.#rejected?.digest === digest) return { kind: 'rejected', reason: this.#rejected.reason };
    const before = this.#current;
    this.#current = { state, properties };
    if (before !== undefined && digestOfProperties(before.properties) === digest) return { kind: 'kept' };
    if (this.#wasReady) this.#fallback = before;
    this.#wasReady = false;
    this.#rejected = undefined;
    await this.#write();
    return { kind: 'taken' };
  }

  /** Notes that all modules are ready. */
  async noteReady(): Promise<void> {
    if (this.#wasReady) return;
    this.#wasReady = true;
    await this.#write();
  }

  /** Notes that the state in force has held: there is no more going back. */
  async commit(): Promise<void> {
    if (this.#fallback === undefined) return;
    this.#fallback = undefined;
    await this.#write();
  }

  /** Goes back to what ran before; there must be something. */
  async goBack(reason: string): Promise<void> {
    if (this.#current === undefined || this.#fallback === undefined) throw new Error('There is nothing to go back to');
    this.#rejected = { digest: digestOfProperties(this.#current.properties), reason };
    this.#current = this.#fallback;
    this.#wasReady = true;
    this.#fallback = undefined;
    await this.#write();
  }

  async #write(): Promise<void> {
    const record = {
      deviceId: this.#deviceId,
      current: this.#current?.properties,
      wasReady: this.#wasReady,
      fallback: this.#fallback?.properties,
      rejected: this.#rejected,
    };
    await this.#file.write(JSON.stringify(record));
  }
}

function generationOf(properties: unknown): Generation | undefined {
  if (properties === undefined) return undefined;
  const reading = readDesired(properties);
  return reading.code === 200 ? { state: reading.state, properties } : undefined;
}

function digestOfProperties(properties: unknown): string {
  return digestOf(JSON.stringify(properties, (name, value: unknown) => (name === '$version' ? undefined : value)));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
