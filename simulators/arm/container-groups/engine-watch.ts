import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerEngine, ContainerState } from '../../../shared/containers/engine.ts';

/** How often the engine is asked, in milliseconds, while somebody waits. */
const everyMs = 100;

type Waiter = (state: ContainerState | undefined) => void;

/** Tells when containers end: one question to the engine for all of them. */
export class EngineWatch {
  readonly #engine: ContainerEngine;
  readonly #waiters = new Map<string, Set<Waiter>>();
  #isAsking = false;

  constructor(engine: ContainerEngine) {
    this.#engine = engine;
  }

  /**
   * Waits until a container does not run; gives how it ended, or `undefined` when it is gone.
   * @throws the signal's reason when it is aborted before that
   */
  async ended(name: string, signal: AbortSignal): Promise<ContainerState | undefined> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<ContainerState | undefined>();
    const waiters = this.#waiters.get(name) ?? new Set();
    this.#waiters.set(name, waiters.add(resolve));
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    void this.#ask();
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
      waiters.delete(resolve);
      if (waiters.size === 0) this.#waiters.delete(name);
    }
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    while (this.#waiters.size > 0) {
      // An engine that does not answer now is asked again.
      const states = await this.#engine.list().catch(() => undefined);
      if (states !== undefined) this.#tell(states);
      await sleep(everyMs);
    }
    this.#isAsking = false;
  }

  #tell(states: readonly ContainerState[]): void {
    const byName = new Map(states.map((state) => [state.name, state]));
    for (const [name, waiters] of this.#waiters) {
      const state = byName.get(name);
      if (state?.status === 'running') continue;
      for (const waiter of waiters) waiter(state);
    }
  }
}
