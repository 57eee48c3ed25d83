import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runFerry } from '../ferry.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import type { Bench } from './measure.ts';
import { squareModel } from './scoring/square-model.ts';
import { putLoad } from './scoring/wrk.ts';
import { SteadyLoad } from './services/steady-load.ts';

/** 512 × 512 float32: 1 MB. */
const size = 512;
const requestsPerSecond = 200;
const loadSeconds = 3;

/** Services of this machine: how soon one is there, what an update costs its callers, and what the port before its replicas costs. */
export async function openBench(): Promise<Bench> {
  await using stack = new AsyncDisposableStack();
  const { path: folder } = stack.use(await temporaryFolder());
  const bench = new LocalServices(folder);
  stack.defer(() => bench.remove());
  await bench.prepare();
  const keep = stack.move();
  const balanced = (rows: number) => ({
    unit: 'req/s',
    sample: async () => bench.balancedLoad(rows),
    reference: {
      name: 'both replicas at once, each by a client of its own',
      sample: async () => bench.directLoad(rows),
    },
    bar: { atLeast: 0.9 },
    rounds: 3,
  });
  return {
    measures: [
      {
        figure: 'ferry push, a new model of 1 MB, to Healthy',
        unit: 's',
        sample: async () => bench.push('fresh'),
        bar: { atMost: 3 },
      },
      { figure: 'the same again', unit: 's', sample: async () => bench.pushAgain(), bar: { atMost: 2 } },
      {
        figure: `failed requests of ${requestsPerSecond}/s while a model is pushed`,
        unit: '',
        sample: async () => bench.failuresOfUpdate(),
        bar: { atMost: 0 },
        rounds: 3,
      },
      { figure: 'two replicas behind one port, 32 rows a request', ...balanced(32) },
      { figure: 'the same, 1 row a request', ...balanced(1) },
    ],
    [Symbol.asyncDispose]: () => keep.disposeAsync(),
  };
}

class LocalServices {
  readonly #folder: string;
  #model = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** What every later push finds made: the workspace, and the layers of Node and the scoring server. */
  async prepare(): Promise<void> {
    await this.#ferry(['workspace', 'init']);
    await writeFile(join(this.#folder, 'sample.json'), rowsText(1));
    for (const rows of [1, 32]) await writeFile(join(this.#folder, `rows-${rows}.json`), rowsText(rows));
    await this.push('fresh');
    await this.push('pair', [
      '--num-replicas',
      '2',
      '--env',
      'WORKER_COUNT=1',
      '--replica-max-concurrent-requests',
      '64',
    ]);
  }

  async remove(): Promise<void> {
    for (const name of ['fresh', 'pair']) await runFerry(['service', 'delete', name], { cwd: this.#folder });
  }

  /** Pushes a model that was never there. @returns seconds */
  async push(name: string, settings: readonly string[] = []): Promise<number> {
    const model = squareModel(size);
    // Another weight makes another model.
    new DataView(model.buffer, model.byteOffset).setFloat32(model.byteLength - 4096, (this.#model += 1), true);
    await writeFile(join(this.#folder, `${name}.onnx`), model);
    return this.#push(name, settings);
  }

  async pushAgain(): Promise<number> {
    return this.#push('fresh');
  }

  async failuresOfUpdate(): Promise<number> {
    const { address } = await this.#show('fresh');
    const load = new SteadyLoad(`${address}/score`, rowsText(1), requestsPerSecond);
    await load.run(1_000);
    const pushed = this.push('fresh');
    await load.runWhile(pushed);
    await load.run(1_000);
    return load.failed;
  }

  async balancedLoad(rows: number): Promise<number> {
    const { address } = await this.#show('pair');
    return this.#load(address, rows, 16);
  }

  async directLoad(rows: number): Promise<number> {
    const { ports } = await this.#show('pair');
    const loads = await Promise.all(ports.map((port) => this.#load(`http://127.0.0.1:${port}`, rows, 8)));
    return loads.reduce((sum, load) => sum + load, 0);
  }

  async #load(address: string, rows: number, connections: number): Promise<number> {
    const load = await putLoad({
      url: `${address}/score`,
      bodyFile: join(this.#folder, `rows-${rows}.json`),
      headers: { 'content-type': 'application/json' },
      connections,
      seconds: loadSeconds,
    });
    return load.requestsPerSecond;
  }

  async #push(name: string, settings: readonly string[] = []): Promise<number> {
    const startMs = performance.now();
    await this.#ferry([
      'push',
      `${name}.onnx`,
      '--name',
      name,
      '--to',
      'local',
      '--sample',
      'sample.json',
      ...settings,
    ]);
    return (performance.now() - startMs) / 1000;
  }

  async #show(name: string): Promise<{ readonly address: string; readonly ports: readonly number[] }> {
    const { scoringAddress, instances } = JSON.parse(await this.#ferry(['service', 'show', name, '--json'])) as {
      scoringAddress: string;
      instances: { port: number }[];
    };
    return { address: scoringAddress, ports: instances.map(({ port }) => port) };
  }

  async #ferry(args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await runFerry(args, { cwd: this.#folder });
    if (code !== 0) throw new Error(`ferry ${args[0]} failed: ${stderr}`);
    return stdout;
  }
}

function rowsText(rows: number): string {
  const row = Array.from({ length: size }, (_, at) => (at % 64) / 64);
  return JSON.stringify({ data: Array.from({ length: rows }, () => row) });
}
