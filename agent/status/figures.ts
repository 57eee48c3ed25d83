import type { OrderedStep } from '../apply/executors.ts';
import type { Look } from '../reconciler.ts';

/** How often and how long something was done. */
export interface Times {
  readonly count: number;
  /** In all, in seconds. */
  readonly seconds: number;
}

/** For how long a module was to run and did, in seconds. */
export interface RunningTime {
  readonly expected: number;
  readonly correct: number;
}

/** Longest time between two looks that counts, in milliseconds: after a sleep of the machine nobody knows what was. */
const gapMaxMs = 60_000;

/** Counts what the agent does, from its start on. */
export class Figures {
  readonly #steps = new Map<string, Times>();
  readonly #commands = new Map<OrderedStep['kind'], Times>();
  readonly #methods = new Map<string, number>();
  readonly #running = new Map<string, RunningTime>();
  #lastLookMs: number | undefined;

  /** Notes a step that was carried out. */
  noteStep({ kind, module }: OrderedStep, elapsedMs: number): void {
    add(this.#steps, `${kind} ${module}`, elapsedMs);
    add(this.#commands, kind, elapsedMs);
  }

  noteMethod(name: string): void {
    this.#methods.set(name, (this.#methods.get(name) ?? 0) + 1);
  }

  /** Notes how modules are; the time since the last look counts as that. */
  noteLook({ desired, containers }: Look, nowMs: number): void {
    const seconds = Math.min(gapMaxMs, nowMs - (this.#lastLookMs ?? nowMs)) / 1000;
    this.#lastLookMs = nowMs;
    for (const { name, status } of desired?.modules ?? []) {
      if (status !== 'running') continue;
      const isRunning = containers.some((container) => container.name === name && container.status === 'running');
      const { expected, correct } = this.#running.get(name) ?? { expected: 0, correct: 0 };
      this.#running.set(name, { expected: expected + seconds, correct: correct + (isRunning ? seconds : 0) });
    }
  }

  /** How often a kind of step was carried out for each module. */
  stepsOf(kind: OrderedStep['kind']): ReadonlyMap<string, number> {
    const ofKind = [...this.#steps].filter(([key]) => key.startsWith(`${kind} `));
    return new Map(ofKind.map(([key, { count }]) => [key.slice(kind.length + 1), count]));
  }

  get commands(): ReadonlyMap<OrderedStep['kind'], Times> {
    return this.#commands;
  }

  get methods(): ReadonlyMap<string, number> {
    return this.#methods;
  }

  get running(): ReadonlyMap<string, RunningTime> {
    return this.#running;
  }
}

function add<Key>(to: Map<Key, Times>, key: Key, elapsedMs: number): void {
  const { count, seconds } = to.get(key) ?? { count: 0, seconds: 0 };
  to.set(key, { count: count + 1, seconds: seconds + elapsedMs / 1000 });
}
