import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { FerryError } from '../../shared/errors.ts';
import type { Figures } from './figures.ts';
import { ListeningThread } from './listening-thread.ts';
import { PlacedScorer } from './placed-scorer.ts';
import { ScoringServer, type ScoringServerOptions } from './server.ts';

/** How long it takes until a thread that ended is started again. */
const restartAfterMs = 1000;

/**
 * A scoring server on as many threads as pay: where all models are light, reading and writing HTTP is what takes the time, so a second
 * thread listens at the same port. Where models run in worker processes, one thread has time for all of it.
 */
export class ServerGroup implements AsyncDisposable {
  readonly #first: ScoringServer;
  readonly #threads = new Set<ListeningThread>();
  #stopping = false;

  private constructor(first: ScoringServer) {
    this.#first = first;
  }

  /**
   * Starts; other threads join when the first is ready.
   * @throws {FerryError} what {@link ScoringServer.start} throws
   */
  static async start(options: ScoringServerOptions): Promise<ServerGroup> {
    const { settings } = options;
    if (settings.listeners === 1) return new ServerGroup(await ScoringServer.start(options));
    const port = await freePort(settings);
    const shared = { ...options, settings: { ...settings, port, sharesPort: true } };
    let group: ServerGroup | undefined;
    const gather = async (): Promise<readonly Figures[]> => await (group?.figures() ?? []);
    group = new ServerGroup(await ScoringServer.start({ ...shared, gather }));
    const { all, script } = group.#first.models;
    if (script !== undefined || !all.every((scorer) => scorer instanceof PlacedScorer)) return group;
    const others = {
      ...shared,
      settings: { ...shared.settings, healthPort: undefined, grpcPort: undefined, sharedSocket: undefined },
    };
    for (let thread = 1; thread < settings.listeners; thread += 1) group.#startThread(others);
    return group;
  }

  get first(): ScoringServer {
    return this.#first;
  }

  /** Gives the figures of all threads. */
  async figures(): Promise<Figures[]> {
    const others = await Promise.all([...this.#threads].map((thread) => thread.figures()));
    return [this.#first.figures(), ...others.filter((figures) => figures !== undefined)];
  }

  /** Stops all threads at the same time. */
  async stop(): Promise<boolean> {
    this.#stopping = true;
    const complete = await Promise.all([this.#first.stop(), ...[...this.#threads].map((thread) => thread.stop())]);
    return complete.every(Boolean);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #startThread(options: ScoringServerOptions): void {
    const { settings, log, entry } = options;
    const thread: ListeningThread = new ListeningThread({
      entry,
      settings,
      log,
      gather: () => this.figures(),
      onEnd: () => {
        this.#threads.delete(thread);
        setTimeout(() => {
          if (!this.#stopping) this.#startThread(options);
        }, restartAfterMs).unref();
      },
    });
    this.#threads.add(thread);
  }
}

/**
 * Makes sure that nobody listens at the port, which a port that is shared does not tell, and chooses one for 0.
 * @throws {FerryError} PORT_IN_USE
 */
async function freePort({ host, port }: { readonly host: string; readonly port: number }): Promise<number> {
  const probe = createServer();
  try {
    probe.listen({ host, port });
    await once(probe, 'listening');
    const { port: free } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, 'close');
    return free;
  } catch (cause) {
    throw new FerryError('PORT_IN_USE', `Cannot listen on ${host}:${port}: another program does`, { cause });
  }
}
