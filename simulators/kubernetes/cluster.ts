import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openEngine } from '../../shared/containers/open-engine.ts';
import { writeDurably } from '../../shared/durable-file.ts';
import { systemCodeOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Certificates } from '../certificates.ts';
import { startServer } from './api/server.ts';
import { ClusterState } from './cluster-state.ts';
import { AutoscalerController } from './controllers/autoscaler.ts';
import { syncDeployments } from './controllers/deployment.ts';
import { syncEndpoints } from './controllers/endpoints.ts';
import { collectGarbage, syncBudgets, syncNamespaces, syncQuotas } from './controllers/housekeeping.ts';
import { syncReplicaSets } from './controllers/replica-set.ts';
import { schedule } from './controllers/scheduler.ts';
import { Images } from './node/images.ts';
import { firstNode, Kubelet } from './node/kubelet.ts';
import { type NodeTimes, nodeTimes } from './node/node-services.ts';
import { ServiceProxy } from './node/service-proxy.ts';
import { UsageMeter } from './node/usage.ts';
import type { Pod } from './objects.ts';
import { kinds, resources } from './resources.ts';
import { loadChecks } from './schema/validate.ts';
import { Store } from './store.ts';
import { Writer } from './writer.ts';

/** The settings of {@link startCluster}. */
export interface ClusterOptions {
  /** Where the token, images and volumes are kept; objects are kept in memory. */
  readonly folder: string;
  readonly certificates: Certificates;
  /** 0 takes any free one. */
  readonly port: number;
  /** Address to listen on. @default '127.0.0.1' */
  readonly host?: string;
  /** What runs the containers. @default 'auto': Docker where it answers, else processes */
  readonly engine?: 'auto' | 'docker' | 'process';
  /** How long things take on a node. */
  readonly times?: Partial<NodeTimes>;
  /** How often autoscalers look, in milliseconds. @default 15000, as a cluster */
  readonly autoscaleEveryMs?: number;
  readonly log: Logger;
}

/** A cluster that runs. */
export interface Cluster extends AsyncDisposable {
  readonly port: number;
  /** `https://localhost:PORT` */
  readonly server: string;
  /** Lets its bearer do everything. */
  readonly token: string;
  /** File (0600) for `KUBECONFIG`. */
  readonly kubeconfigFile: string;
}

/** How often what depends on time is looked at, in milliseconds. */
const tickEveryMs = 1_000;
/** How often it is measured what containers take, in milliseconds. */
const measureEveryMs = 2_000;

/**
 * Starts a Kubernetes cluster of one machine, whose pods really run: as containers of a Docker engine, or as processes.
 * @throws {FerryError} PORT_IN_USE, ENGINE_FAILED
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { folder, certificates, host = '127.0.0.1', engine: choice = 'auto', log } = options;
  await using parts = new AsyncDisposableStack();
  await mkdir(folder, { recursive: true });
  await loadChecks(resources);
  const store = new Store();
  const state = new ClusterState(store, new Writer(store));
  const images = await Images.open(join(folder, 'images'));
  const token = await readToken(join(folder, 'token'));
  const owner = `kube${token
    .slice(0, 8)
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '0')}`;
  // Pods of one cluster may share what their images have in common: no node of a gateway's is simulated here.
  const neighbours = async (): Promise<readonly string[]> => [];
  const engine = parts.use(await openEngine({ engine: choice, layout: images.layout, folder, owner, neighbours, log }));
  const usage = new UsageMeter();
  const times = { ...nodeTimes, ...options.times };
  const kubelet = new Kubelet({ state, engine, images, folder: join(folder, 'pods'), times, usage, log });
  await kubelet.start();
  for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease'])
    makeOwn(state, kinds.namespace, { metadata: { name } });
  makeOwn(state, kinds.node, firstNode());
  const proxy = parts.use(new ServiceProxy(state));
  parts.use(kubelet);
  const loop = parts.use(new ControlLoop(state, { kubelet, proxy, certificates, log }));
  loop.start();
  const autoscaler = new AutoscalerController(state, (pod) => usageOf(kubelet, pod));
  parts.use(every(measureEveryMs, () => usage.measure()));
  parts.use(every(options.autoscaleEveryMs ?? 15_000, async () => autoscaler.sync()));
  const server = parts.use(
    await startServer({
      store,
      writer: state.writer,
      kubelet,
      engine,
      certificates,
      token,
      host,
      port: options.port,
      log,
    }),
  );
  const address = `https://localhost:${server.port}`;
  const kubeconfigFile = join(folder, 'kubeconfig');
  await writeDurably(kubeconfigFile, kubeconfigOf(address, certificates.caPem, token), { mode: 0o600 });
  const running = parts.move();
  return {
    port: server.port,
    server: address,
    token,
    kubeconfigFile,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function makeOwn(state: ClusterState, resource: (typeof resources)[number], object: Record<string, unknown>): void {
  state.writer.create(resource, object, { manager: { name: 'kube-apiserver', operation: 'Update' } });
}

function usageOf(kubelet: Kubelet, pod: Pod): Record<string, number> | undefined {
  const all = pod.spec.containers.flatMap(({ name }) => kubelet.usageOf(pod, name) ?? []);
  if (all.length === 0) return undefined;
  return {
    cpu: all.reduce((sum, { cpu }) => sum + cpu, 0),
    memory: all.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
  };
}

function every(ms: number, work: () => Promise<void>): Disposable {
  const timer = setInterval(() => void work(), ms);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** The same token after a restart, so that kubeconfigs stay good. */
async function readToken(path: string): Promise<string> {
  try {
    const kept = (await readFile(path, 'utf8')).trim();
    if (kept !== '') return kept;
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
  const token = randomBytes(32).toString('base64url');
  await writeDurably(path, `${token}\n`, { mode: 0o600 });
  return token;
}

/** JSON is YAML. */
function kubeconfigOf(server: string, caPem: string, token: string): string {
  const name = 'modelferry-local';
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server, 'certificate-authority-data': Buffer.from(caPem).toString('base64') } }],
    users: [{ name, user: { token } }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: 'default' } }],
    'current-context': name,
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

/** Lets every controller look at the cluster after each change, and once a second for what time changes. */
class ControlLoop implements Disposable {
  readonly #state: ClusterState;
  readonly #parts: { kubelet: Kubelet; proxy: ServiceProxy; certificates: Certificates; log: Logger };
  #isDue = false;
  #timer: NodeJS.Timeout | undefined;
  #stopListening: (() => void) | undefined;

  constructor(
    state: ClusterState,
    parts: { kubelet: Kubelet; proxy: ServiceProxy; certificates: Certificates; log: Logger },
  ) {
    this.#state = state;
    this.#parts = parts;
  }

  start(): void {
    this.#stopListening = this.#state.store.listen(({ resource }) => {
      if (resource !== kinds.event) this.#soon();
    });
    this.#timer = setInterval(() => this.#soon(), tickEveryMs);
    this.#soon();
  }

  [Symbol.dispose](): void {
    this.#stopListening?.();
    clearInterval(this.#timer);
    this.#isDue = true;
  }

  /** Many changes of one turn are looked at once. */
  #soon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#turn();
    });
  }

  #turn(): void {
    const { kubelet, proxy, certificates, log } = this.#parts;
    const state = this.#state;
    const controllers: readonly [name: string, sync: () => void][] = [
      ['namespaces', () => syncNamespaces(state, certificates.caPem)],
      ['garbage', () => collectGarbage(state)],
      ['deployments', () => syncDeployments(state)],
      ['replica sets', () => syncReplicaSets(state)],
      ['scheduler', () => schedule(state)],
      ['kubelet', () => kubelet.sync()],
      ['endpoints', () => syncEndpoints(state)],
      ['services', () => proxy.sync()],
      ['budgets', () => syncBudgets(state)],
      ['quotas', () => syncQuotas(state)],
    ];
    for (const [name, sync] of controllers) {
      try {
        sync();
      } catch (error) {
        // One that fails is tried again at the next turn; the others go on.
        log.error({ err: error, controller: name }, 'a controller failed');
      }
    }
  }
}
