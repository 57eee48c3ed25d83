import { withDeadline } from '../shared/deadline.ts';

/** How long whoever asked waits, in milliseconds. */
const answerTimeoutMs = 60_000;

/** The modules that somebody asked to start anew, and who waits for that. */
export class RestartRequests {
  readonly #asked = new Map<string, PromiseWithResolvers<void>>();

  /** The modules that are to be started anew. */
  get modules(): ReadonlySet<string> {
    return new Set(this.#asked.keys());
  }

  /** Notes that a module is to be started anew, and comes back when it was. Who asks for the same meanwhile gets the same answer. */
  async ask(module: string, signal: AbortSignal): Promise<void> {
    const asked = this.#asked.get(module) ?? Promise.withResolvers<void>();
    this.#asked.set(module, asked);
    const deadline = { doing: `restart the module "${module}"`, timeoutMs: answerTimeoutMs, signal };
    await withDeadline(deadline, () => asked.promise);
  }

  /** Tells who waits that a module was started, or why not. Does nothing where nobody does. */
  answer(module: string, error?: unknown): void {
    const asked = this.#asked.get(module);
    this.#asked.delete(module);
    if (error === undefined) asked?.resolve();
    else asked?.reject(error);
  }
}
