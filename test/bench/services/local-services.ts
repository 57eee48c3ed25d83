import { join } from 'node:path';
import { temporaryFolder } from '../../temporary-folder.ts';
import { putLoad } from '../scoring/wrk.ts';
import { Pusher, rowsText } from './pusher.ts';
import { SteadyLoad } from './steady-load.ts';

const loadSeconds = 3;

/** What the port of a service with two replicas hands them, which is the service's name here. */
type Balanced = 'requests' | 'connections';

/** Services of this machine: `fresh`, which is pushed again and again, and one with two replicas for each way of balancing. */
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
    for (const [name, settings] of [
      ['fresh', []],
      ['requests', [...pair, '--balance', 'requests']],
      ['connections', [...pair, '--balance', 'connections']],
    ] as const) {
      stack.defer(async () => void (await pusher.ferry(['service', 'delete', name])));
      await pusher.pushNew(name, 'local', settings);
    }
    return new LocalServices(pusher, stack.move());
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

  /** Puts load on the port, and gives requests a second. */
  async balancedLoad(service: Balanced, rows: number): Promise<number> {
    const { address } = await this.#show(service);
    return this.#load(address, rows, 16);
  }

  /** Puts load on both replicas at once, past the port. */
  async directLoad(service: Balanced, rows: number): Promise<number> {
    const { ports } = await this.#show(service);
    const loads = await Promise.all(ports.map((port) => this.#load(`http://127.0.0.1:${port}`, rows, 8)));
    return loads.reduce((sum, load) => sum + load, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }

  async #load(address: string, rows: number, connections: number): Promise<number> {
    const load = await putLoad({
      url: `${address}/score`,
      bodyFile: join(this.#pusher.folder, `rows-${rows}.json`),
      headers: { 'content-type': 'application/json' },
      connections,
      seconds: loadSeconds,
    });
    return load.requestsPerSecond;
  }

  async #show(name: string): Promise<{ readonly address: string; readonly ports: readonly number[] }> {
    const { scoringAddress, instances } = JSON.parse(await this.#pusher.ferry(['service', 'show', name, '--json'])) as {
      scoringAddress: string;
      instances: { port: number }[];
    };
    return { address: scoringAddress, ports: instances.map(({ port }) => port) };
  }
}
