import { z } from 'zod';
import type { ContainerState } from '../shared/containers/engine.ts';
import { fingerprintLabel, imageDigestLabel } from './labels.ts';
import type { ObservedModule } from './plan.ts';
import { intensiveCareMs } from './restart-policy.ts';
import { filesOnDisk, type StateFiles } from './state-files.ts';

const recordsSchema = z.record(z.string(), z.object({ restartCount: z.int().nonnegative(), ended: z.boolean() }));

/** What is remembered of one module. */
interface Memory {
  restartCount: number;
  /** Whether it was seen to end by itself, and not started since. */
  ended: boolean;
  /** Since when it has been seen not to run after it ended by itself; monotonic. */
  downSinceMs?: number;
  /** Since when it has been seen to run; monotonic. */
  runningSinceMs?: number;
}

/**
 * Watches containers from one look to the next and so knows what a single look does not tell: that a module ended by itself, since when
 * it is down, how often it was started again. Counts are kept on disk; times are monotonic, so the clock may jump.
 */
export class ModuleWatch {
  readonly #path: string;
  readonly #files: StateFiles;
  readonly #memories = new Map<string, Memory>();
  #written = '';

  private constructor(path: string, files: StateFiles) {
    this.#files = files;
    this.#path = path;
  }

  /** Opens what was kept in a file; a file that is missing or damaged counts as empty, because nothing but counts is lost. */
  static async open(path: string, files: StateFiles = filesOnDisk): Promise<ModuleWatch> {
    const watch = new ModuleWatch(path, files);
    const text = await files.read(path).catch(() => '{}');
    const records = recordsSchema.safeParse(parseJson(text));
    for (const [name, record] of Object.entries(records.data ?? {})) watch.#memories.set(name, { ...record });
    watch.#written = text;
    return watch;
  }

  /** Takes a look at the containers there are and says how the modules are. */
  observe(containers: readonly ContainerState[], nowMs: number): Map<string, ObservedModule> {
    const names = new Set(containers.map(({ name }) => name));
    for (const name of this.#memories.keys()) if (!names.has(name)) this.#memories.delete(name);
    return new Map(containers.map((container) => [container.name, this.#observeOne(container, nowMs)]));
  }

  /** Notes that a module was started by the agent: should it end before the next look, that is known to be by itself. */
  noteStarted(name: string, nowMs: number): void {
    const { restartCount, ended } = this.#memory(name);
    // Started for the first time, or after it was stopped on purpose, is not started again.
    this.#memories.set(name, { restartCount: restartCount + (ended ? 1 : 0), ended: false, runningSinceMs: nowMs });
  }

  /** Notes that a module was stopped by the agent, so that its end is not taken for a crash. */
  noteStopped(name: string): void {
    this.#memories.set(name, { restartCount: this.#memory(name).restartCount, ended: false });
  }

  /** Gives a module a fresh start: its restarts are forgotten. */
  forget(name: string): void {
    this.#memories.delete(name);
  }

  /** Writes down what has to outlive the program, if it has changed. */
  async save(): Promise<void> {
    const records = [...this.#memories].map(([name, { restartCount, ended }]) => [name, { restartCount, ended }]);
    const text = JSON.stringify(Object.fromEntries(records));
    if (text === this.#written) return;
    await this.#files.write(this.#path, text);
    this.#written = text;
  }

  #observeOne({ name, labels, status, exitCode }: ContainerState, nowMs: number): ObservedModule {
    const known = this.#memories.has(name);
    const memory = this.#memory(name);
    if (status === 'running') {
      memory.runningSinceMs ??= nowMs;
      memory.ended = false;
      if (nowMs - memory.runningSinceMs >= intensiveCareMs) memory.restartCount = 0;
    } else if (memory.runningSinceMs !== undefined) {
      delete memory.runningSinceMs;
      memory.ended = true;
      memory.downSinceMs = nowMs;
    } else if (!known && status === 'exited' && exitCode === 0) {
      // Ended while nobody watched, and as it should: not to be taken for what a power cut ended.
      memory.ended = true;
    }
    this.#memories.set(name, memory);
    const downForMs = memory.ended ? nowMs - (memory.downSinceMs ?? Number.NEGATIVE_INFINITY) : undefined;
    return {
      fingerprint: labels[fingerprintLabel] ?? '',
      ...(labels[imageDigestLabel] === undefined ? {} : { imageDigest: labels[imageDigestLabel] }),
      status,
      exitCode,
      restartCount: memory.restartCount,
      ...(downForMs === undefined ? {} : { downForMs }),
    };
  }

  #memory(name: string): Memory {
    return this.#memories.get(name) ?? { restartCount: 0, ended: false };
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
