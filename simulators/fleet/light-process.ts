import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { FerryError } from '../../shared/errors.ts';
import { findProgram } from '../../shared/programs.ts';
import type { DeviceProfile } from './profiles.ts';

const count = z.number().nonnegative();

const summarySchema = z.object({
  deviceId: z.string(),
  rows: z.object({ collected: count, uploaded: count, buffered: count, dropped: count }),
  troubles: z.object({ crashes: count, powerCuts: count }),
  retries: z.object({ connections: count, pulls: count, uploads: count, resent: count, throttled: count }),
  connections: count,
  patches: count,
  bytes: z.object({ sent: count, received: count, pulled: count, uploaded: count }),
});

/** What a light device says of itself at the end. */
export type DeviceSummary = z.infer<typeof summarySchema>;

/** What the hub is asked, about one device. */
const requestSchema = z.looseObject({
  deviceId: z.string(),
  op: z.enum(['connect', 'close', 'read', 'report', 'upload']),
});

/** What the hub is asked, about one device. */
export type FleetRequest = z.infer<typeof requestSchema>;

const lineSchema = z.union([
  z.object({ batch: z.object({ atMs: count, requests: z.array(requestSchema) }) }),
  z.object({ started: count }),
  z.object({ summaries: z.array(summarySchema) }),
  z.object({ done: z.literal(true) }),
]);

/** A line of the program of the devices. */
export type LightLine = z.infer<typeof lineSchema>;

/** What the devices are told at first. */
export interface LightStart {
  readonly mode: 'real' | 'virtual';
  readonly images: Readonly<Record<string, unknown>>;
  readonly caFile?: string;
  readonly slowLinks?: boolean;
  readonly epochMs?: number;
  readonly endMs?: number;
  readonly turnsMs?: readonly number[];
}

/** Profiles that one line tells. */
const profilesPerLine = 500;

/** The program in which the light devices live, a process of its own; it ends with its standard input. */
export class LightProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #lines: AsyncIterator<string>;

  #isDone = false;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, 'exit');
    if (child.stdout === null) throw new Error('A pipe was wanted');
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    // It may end in the middle of a line; that shows when the next is read.
    child.stdin?.on('error', () => undefined);
  }

  /** Starts it with its devices. */
  static async start(
    start: LightStart,
    devices: readonly (DeviceProfile & { readonly connectionString: string })[],
  ): Promise<LightProcess> {
    const { path } = findProgram('light');
    const child = spawn(process.execPath, ['--disable-warning=DEP0169', ...process.execArgv, path], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const light = new LightProcess(child);
    light.write({ start });
    for (let at = 0; at < devices.length; at += profilesPerLine) {
      light.write({ devices: devices.slice(at, at + profilesPerLine) });
    }
    light.write({ run: true });
    return light;
  }

  write(line: unknown): void {
    this.#child.stdin?.write(`${JSON.stringify(line)}\n`);
  }

  /** @throws {FerryError} WORLD_FAILED when it has ended by itself */
  async read(): Promise<LightLine> {
    const { done, value } = await this.#lines.next();
    if (done === true) {
      throw new FerryError(
        'WORLD_FAILED',
        'Cannot go on: the simulated devices ended by themselves, their error is above',
      );
    }
    const line = lineSchema.parse(JSON.parse(value));
    this.#isDone = 'done' in line;
    return line;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    if (!this.#isDone) this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
