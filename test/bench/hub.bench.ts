import { type ChildProcess, fork } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import https from 'node:https';
import { fileURLToPath } from 'node:url';
import { openCertificates } from '../../simulators/certificates.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import type { SwarmClient } from './hub-swarm.ts';
import type { Bench, Measure } from './measure.ts';

/** One figure of the run, beside its reference and the bar that it has to hold. */
interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** The same of the bare broker, measured in the same run. */
  readonly reference?: number;
  readonly bar: NonNullable<Measure['bar']>;
}

/** Connected modules that are measured with. */
const modules = 5000;
/** They connect in so many turns, the hub and the bare broker one after the other. */
const turns = 5;
const waitTimeoutMs = 60_000;

/** All figures come of one run, in which hub and broker take turns; so each is sampled once. */
export async function openBench(): Promise<Bench> {
  const figures = await measureHub();
  return {
    measures: figures.map(({ name, value, unit, reference, bar }) => ({
      figure: name,
      unit,
      sample: async () => value,
      ...(reference === undefined ? {} : { reference: { name: 'bare aedes', sample: async () => reference } }),
      bar,
      rounds: 1,
    })),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/**
 * Measures the hub simulator against a bare aedes broker over the same TLS: connections a second, memory with all connected, and
 * how long a deployment takes to reach all of them.
 */
async function measureHub(): Promise<readonly Figure[]> {
  const count = modules;
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder());
  const { caFile, caPem } = await openCertificates(folder.path);
  const hub = startProcess(cleanup, 'hub-server.ts', ['hub', folder.path]);
  const broker = startProcess(cleanup, 'hub-server.ts', ['broker', folder.path]);
  const swarm = startProcess(cleanup, 'hub-swarm.ts', []);
  const hubInfo = (await answer(hub)) as { readonly port: number; readonly connectionString: string };
  const brokerInfo = (await answer(broker)) as { readonly port: number };
  const service = serviceOf(hubInfo, caPem);
  const clients = await register(service, count);
  const connectMs = { hub: 0, broker: 0 };
  for (let turn = 0; turn < turns; turn += 1) {
    const part = clients.slice((turn * count) / turns, ((turn + 1) * count) / turns);
    for (const [name, port] of [
      ['broker', brokerInfo.port],
      ['hub', hubInfo.port],
    ] as const) {
      swarm.send({ port, caFile, clients: part });
      connectMs[name] += ((await answer(swarm)) as { readonly ms: number }).ms;
    }
  }
  const memoryBytes = await rssOf(hub);
  const fanOutMs = await deployToAll({ service, swarm, count });
  const reportMs = await reportFromAll({ swarm, count });
  const rate = { hub: (count / connectMs.hub) * 1000, broker: (count / connectMs.broker) * 1000 };
  return [
    { name: 'connections over TLS', value: rate.hub, unit: '1/s', reference: rate.broker, bar: { atLeast: 0.6 } },
    { name: `memory with ${count} connected`, value: memoryBytes / 1e6, unit: 'MB', bar: { atMost: 600 } },
    { name: `deployment to ${count} modules`, value: fanOutMs / 1000, unit: 's', bar: { atMost: 10 } },
    // What ten units of the real hub's S1 tier let through.
    { name: 'reported patches', value: (count / reportMs) * 1000, unit: '1/s', bar: { atLeast: 500 } },
  ];
}

type Service = (method: string, path: string, body: unknown) => Promise<unknown>;

async function deployToAll(of: {
  readonly service: Service;
  readonly swarm: ChildProcess;
  readonly count: number;
}): Promise<number> {
  const { service, swarm, count } = of;
  const desired = {
    schemaVersion: '1.1',
    runtime: { type: 'docker', settings: {} },
    systemModules: {},
    modules: { digits: { type: 'docker', settings: { image: `digits@sha256:${'0'.repeat(64)}` } } },
  };
  const begin = performance.now();
  await service('PUT', '/configurations/all', {
    id: 'all',
    priority: 1,
    targetCondition: '*',
    content: { modulesContent: { $edgeAgent: { 'properties.desired': desired } } },
  });
  return await reached(swarm, { what: 'patches', count, begin });
}

/** The agents of all modules report at once, as after a deployment. */
async function reportFromAll({
  swarm,
  count,
}: {
  readonly swarm: ChildProcess;
  readonly count: number;
}): Promise<number> {
  const begin = performance.now();
  swarm.send('report');
  return await reached(swarm, { what: 'answers', count, begin });
}

/** Waits until the swarm has counted so many, and gives how long that took. */
async function reached(
  swarm: ChildProcess,
  { what, count, begin }: { readonly what: 'patches' | 'answers'; readonly count: number; readonly begin: number },
): Promise<number> {
  for (;;) {
    swarm.send(what);
    const counted = ((await answer(swarm)) as Readonly<Record<string, number>>)[what] ?? 0;
    const ms = performance.now() - begin;
    if (counted >= count) return ms;
    if (ms > waitTimeoutMs) throw new Error(`after ${ms} ms there are ${counted} ${what} of ${count}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Registers IoT Edge devices; their `$edgeAgent`s are what connects. */
async function register(service: Service, count: number): Promise<readonly SwarmClient[]> {
  const key = Buffer.alloc(32, 7).toString('base64');
  const ids = Array.from({ length: count }, (_, index) => `edge-${index}`);
  for (let from = 0; from < count; from += 100) {
    await service(
      'POST',
      '/devices',
      ids.slice(from, from + 100).map((id) => ({
        id,
        importMode: 'create',
        capabilities: { iotEdge: true },
        authentication: { type: 'sas', symmetricKey: { primaryKey: key, secondaryKey: key } },
      })),
    );
  }
  return ids.map((id) => ({
    clientId: `${id}/$edgeAgent`,
    username: `localhost/${id}/$edgeAgent/?api-version=2021-04-12`,
    password: sign(`localhost/devices/${id}/modules/%24edgeAgent`, key),
  }));
}

function serviceOf(
  { port, connectionString }: { readonly port: number; readonly connectionString: string },
  ca: string,
): Service {
  const key = /;SharedAccessKey=(.+)$/.exec(connectionString)?.[1] ?? '';
  const agent = new https.Agent({ keepAlive: true });
  const authorization = `${sign('localhost', key)}&skn=iothubowner`;
  return async (method, path, body) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const request = https.request(
      {
        agent,
        ca,
        host: 'localhost',
        port,
        method,
        path: `${path}?api-version=2021-04-12`,
        headers: { authorization, 'content-type': 'application/json' },
      },
      (response) => {
        response.resume();
        response.on('end', () =>
          (response.statusCode ?? 500) < 300
            ? resolve()
            : reject(new Error(`${method} ${path}: ${response.statusCode}`)),
        );
      },
    );
    request.on('error', reject);
    request.end(JSON.stringify(body));
    return await promise;
  };
}

function sign(audience: string, key: string): string {
  const resource = encodeURIComponent(audience);
  const expiry = Math.ceil(Date.now() / 1000) + 3600;
  const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(`${resource}\n${expiry}`).digest('base64');
  return `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expiry}`;
}

function startProcess(cleanup: AsyncDisposableStack, file: string, args: readonly string[]): ChildProcess {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), [...args]);
  cleanup.defer(async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  return child;
}

async function answer(child: ChildProcess): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const onExit = (code: number | null): void => reject(new Error(`a process of the benchmark ended with ${code}`));
  child.once('message', resolve);
  child.once('exit', onExit);
  try {
    return await promise;
  } finally {
    child.off('message', resolve);
    child.off('exit', onExit);
  }
}

async function rssOf(child: ChildProcess): Promise<number> {
  child.send('memory');
  return ((await answer(child)) as { readonly rssBytes: number }).rssBytes;
}
