import { parentPort, Worker, workerData } from 'node:worker_threads';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Figures } from './figures.ts';
import type { ScoringServer } from './server.ts';
import type { ScoringSettings } from './settings.ts';

/** The role that a thread started by {@link ListeningThread} finds in its `workerData`. */
export const listeningThreadRole = 'listen';

/** What the main thread says to another that listens. */
type ToThread =
  | { readonly kind: 'figures'; readonly id: number }
  | { readonly kind: 'gathered'; readonly id: number; readonly figures: readonly Figures[] }
  | { readonly kind: 'stop' };

/** What a thread that listens says to the main thread. */
type FromThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'figures'; readonly id: number; readonly figures: Figures }
  | { readonly kind: 'gather'; readonly id: number }
  | { readonly kind: 'stopped'; readonly complete: boolean };

/** The settings of a {@link ListeningThread}. */
export interface ListeningThreadOptions {
  /** The program's main module. */
  readonly entry: URL;
  /** With the port that all threads share. */
  readonly settings: ScoringSettings;
  readonly log: Logger;
  /** Gives the figures of all threads. */
  readonly gather: () => Promise<readonly Figures[]>;
  /** Called when it ends without being asked. */
  readonly onEnd: () => void;
}

/** One more thread that listens at the same port, with sessions of its own: the kernel shares connections out between them. */
export class ListeningThread {
  readonly #worker: Worker;
  readonly #asked = new Map<number, (figures: Figures | undefined) => void>();
  readonly #stopped = Promise.withResolvers<boolean>();
  #stopping = false;
  #ready = false;
  #nextId = 1;

  constructor({ entry, settings, log, gather, onEnd }: ListeningThreadOptions) {
    this.#worker = new Worker(entry, { workerData: { role: listeningThreadRole, settings }, argv: [] });
    this.#worker.on('message', (message: FromThread) => {
      if (message.kind === 'ready') this.#ready = true;
      else if (message.kind === 'stopped') this.#stopped.resolve(message.complete);
      else if (message.kind === 'figures') this.#asked.get(message.id)?.(message.figures);
      else void gather().then((figures) => this.#post({ kind: 'gathered', id: message.id, figures }));
    });
    this.#worker.on('error', (error) => log.error({ reason: messageOf(error) }, 'a listening thread failed'));
    this.#worker.on('exit', () => {
      this.#ready = false;
      this.#stopped.resolve(false);
      for (const answer of this.#asked.values()) answer(undefined);
      if (!this.#stopping) onEnd();
    });
  }

  /** Gives what the thread has counted; nothing where it does not listen yet, or no more. */
  async figures(): Promise<Figures | undefined> {
    if (!this.#ready) return undefined;
    const id = this.#nextId++;
    const { promise, resolve } = Promise.withResolvers<Figures | undefined>();
    this.#asked.set(id, resolve);
    this.#post({ kind: 'figures', id });
    return await promise.finally(() => this.#asked.delete(id));
  }

  /**
   * Answers what is in flight, and ends the thread.
   * @returns whether all was answered in time
   */
  async stop(): Promise<boolean> {
    this.#stopping = true;
    if (!this.#ready) {
      await this.#worker.terminate();
      return true;
    }
    this.#post({ kind: 'stop' });
    const complete = await this.#stopped.promise;
    await this.#worker.terminate();
    return complete;
  }

  #post(message: ToThread): void {
    this.#worker.postMessage(message, []);
  }
}

/** What the thread does: listens, and tells the main thread what it is asked. */
export async function runListeningThread(
  start: (settings: ScoringSettings, gather: () => Promise<readonly Figures[]>) => Promise<ScoringServer>,
): Promise<void> {
  if (parentPort === null) throw new Error('The listening thread was started as a process');
  const port = parentPort;
  const post = (message: FromThread): void => port.postMessage(message);
  const gathering = new Map<number, (figures: readonly Figures[]) => void>();
  let nextId = 1;
  const server = await start((workerData as { settings: ScoringSettings }).settings, async () => {
    const id = nextId++;
    const { promise, resolve } = Promise.withResolvers<readonly Figures[]>();
    gathering.set(id, resolve);
    post({ kind: 'gather', id });
    return await promise.finally(() => gathering.delete(id));
  });
  port.on('message', (message: ToThread) => {
    if (message.kind === 'gathered') gathering.get(message.id)?.(message.figures);
    else if (message.kind === 'figures') post({ kind: 'figures', id: message.id, figures: server.figures() });
    else void server.stop().then((complete) => post({ kind: 'stopped', complete }));
  });
  post({ kind: 'ready' });
}
