import { join } from 'node:path';
import { temporaryFolder } from '../../temporary-folder.ts';
import { putLoad } from '../scoring/wrk.ts';
import { Pusher, rowsText } from './pusher.ts';
import { SteadyLoad } from './steady-load.ts';

const loadSeconds = 3;
/** Products with 512 × 512 weights, which make a request take milliseconds. */
const heavyLayers = 512;

/** Services with two replicas, and how each is made. */
const pairs = {
  requests: { settings: ['--balance', 'requests'], layers: 1 },
  heavy: { settings: ['--balance', 'requests'], layers: heavyLayers },
  connections: { settings: ['--balance', 'connections'], layers: 1 },
  limited: { settings: ['--balance', 'requests', '--cpu-cores-limit', '0.25'], layers: 1 },
} as const;

/** A service with two replicas behind one port. */
export type Pair = keyof typeof pairs;

/** Services of this machine: `fresh`, which is pushed again and again, and the {@link pairs}. */
export class LocalServices implements AsyncDisposable {
  readonly #pusher: Pusher;
  readonly #opened: AsyncDisposableStack;

  private constructor(pusher: Pusher, opened: AsyncDisposableStack) {
    this.#pusher = pusher;
    this.#opened = opened;
  }

  /** Makes what every later push finds made: the workspace, and the layers of Node and the scoring server. */
  static async open(): Promise<LocalServices> {
    await using stack = new AsyncDisposableStack();
    const { path: folder } = stack.use(await temporaryFolder());
    const pusher = new Pusher(folder);
    await pusher.ferry(['workspace', 'init']);
    await pusher.writeRows();
    const pair = ['--num-replicas', '2', '--env', 'WORKER_COUNT=1', '--replica-max-concurrent-requests', '64'];
    const names = Object.keys(pairs) as Pair[];
    for (const [name, settings, layers] of [
      ['fresh', [], 1] as const,
      ...names.map((name) => [name, [...pair, ...pairs[name].settings], pairs[name].layers] as const),
    ]) {
      stack.defer(async () => void (await pusher.ferry(['service', 'delete', name])));
      await pusher.pushNew(name, 'local', settings, layers);
    }
    const services = new LocalServices(pusher, stack.move());
    // What compiles while it runs has done so before it is measured.
    for (const name of names) for (const rows of [1, 1, 1, 32, 32]) await services.balancedLoad(name, rows);
    return services;
  }

  /** Pushes a model that was never there. @returns seconds */
  async push(name: string): Promise<number> {
    return this.#pusher.pushNew(name, 'local');
  }

  async pushAgain(): Promise<number> {
    return this.#pusher.pushAgain('fresh', 'local');
  }

  /** Counts requests that fail while a new model is pushed. */
  async failuresOfUpdate(requestsPerSecond: number): Promise<number> {
    const { address } = await this.#show('fresh');
    const load = new SteadyLoad(`${address}/score`, rowsText(1), requestsPerSecond);
    await load.run(1_000);
    const pushed = this.push('fresh');
    await load.runWhile(pushed);
    await load.run(1_000);
    return load.failed;
  }

  /** Puts load on the port by the clients of all replicas, and gives requests a second. */
  async balancedLoad(service: Pair, rows: number): Promise<number> {
    const { address, ports } = await this.#show(service);
    return this.#load(
      ports.map(() => address),
      rows,
    );
  }

  /** Puts load on both replicas at once, past the port. */
  async directLoad(service: Pair, rows: number): Promise<number> {
    const { ports } = await this.#show(service);
    return this.#load(
      ports.map((port) => `http://127.0.0.1:${port}`),
      rows,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }

  /**
   * Has clients of sixteen connections together at each address, all at once, and gives the requests a second of all. Each address has one on either
   * core: behind a port a replica is asked by all clients, and one alone would come to share a core with its replica, which is worth more than any
   * port costs (two replicas and their clients: 20,900 requests a second on the same core each, 15,000 on the other).
   */
  async #load(addresses: readonly string[], rows: number): Promise<number> {
    const bodyFile = join(this.#pusher.folder, `rows-${rows}.json`);
    const headers = { 'content-type': 'application/json' };
    const loads = await Promise.all(
      addresses.flatMap((address) =>
        [0, 1].map(async (core) =>
          putLoad({ url: `${address}/score`, bodyFile, headers, connections: 8, seconds: loadSeconds, core }),
        ),
      ),
    );
    return loads.reduce((sum, { requestsPerSecond }) => sum + requestsPerSecond, 0);
  }

  async #show(name: string): Promise<{ readonly address: string; readonly ports: readonly number[] }> {
    const { scoringAddress, instances } = JSON.parse(await this.#pusher.ferry(['service', 'show', name, '--json'])) as {
      scoringAddress: string;
      instances: { port: number }[];
    };
    return { address: scoringAddress, ports: instances.map(({ port }) => port) };
  }
}
