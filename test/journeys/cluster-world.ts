import { AppsV1Api, CoreV1Api, KubeConfig, KubernetesObjectApi } from '@kubernetes/client-node';
import { chmod } from 'node:fs/promises';
import { expect } from 'vitest';
import { digitsFile, logisticFile } from '../cloud/workspace-rig.ts';
import heldOut from '../../simulators/quickstart/digits/digits-heldout.json' with { type: 'json' };
import { documentOf, type FerryRun, runFerry } from '../ferry.ts';
import { startLocalWorld, type UpDocument } from '../local-world.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';

/** Whether a simulated cluster can be journeyed to: a load balancer's address is one of loopback at port 80, which needs root and Linux. */
export const hasCluster = process.platform === 'linux' && process.getuid?.() === 0;
if (!hasCluster) console.warn('no root, or no Linux: journeys to the simulated Kubernetes are skipped');

/** Two pictures, as a request. */
export const pictures = JSON.stringify({ pixels: heldOut.pixels.slice(0, 2) });

/** Every kind of object that a service, or what runs for it, may be. */
const kinds = [
  ['apps/v1', 'Deployment'],
  ['apps/v1', 'ReplicaSet'],
  ['v1', 'Pod'],
  ['v1', 'Service'],
  ['v1', 'Endpoints'],
  ['discovery.k8s.io/v1', 'EndpointSlice'],
  ['v1', 'Secret'],
  ['v1', 'ConfigMap'],
  ['autoscaling/v2', 'HorizontalPodAutoscaler'],
  ['policy/v1', 'PodDisruptionBudget'],
  ['networking.k8s.io/v1', 'NetworkPolicy'],
] as const;

/** A workspace beside a simulated cluster. */
export class ClusterWorld implements AsyncDisposable {
  readonly folder: string;
  readonly document: UpDocument;
  readonly kubeconfigFile: string;
  readonly core: CoreV1Api;
  readonly apps: AppsV1Api;
  readonly #objects: KubernetesObjectApi;
  readonly #opened: AsyncDisposableStack;

  private constructor(folder: string, document: UpDocument, opened: AsyncDisposableStack) {
    this.folder = folder;
    this.document = document;
    const { kubernetes } = document as unknown as { kubernetes: { kubeconfigFile: string } };
    this.kubeconfigFile = kubernetes.kubeconfigFile;
    const config = new KubeConfig();
    config.loadFromFile(this.kubeconfigFile);
    this.core = config.makeApiClient(CoreV1Api);
    this.apps = config.makeApiClient(AppsV1Api);
    this.#objects = config.makeApiClient(KubernetesObjectApi);
    this.#opened = opened;
  }

  /**
   * @param parts what runs beside registry and cluster
   * @param engine what pods are
   */
  static async open(parts: readonly string[] = [], engine: 'docker' | 'process' = 'process'): Promise<ClusterWorld> {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await temporaryFolder());
    // Replicas run as another user, who has to get to their files.
    await chmod(path, 0o755);
    const only = ['registry', 'kubernetes', ...parts].join(',');
    const world = stack.use(await startLocalWorld(path, ['--only', only, '--engine', engine]));
    return new ClusterWorld(path, world.document, stack.move());
  }

  /** Registers two models as versions 1 and 2 of `digits`, and makes an image of each. */
  async makeImages(): Promise<void> {
    for (const file of [digitsFile, logisticFile]) await this.done('model', 'register', file, '--name', 'digits');
    for (const version of [1, 2])
      await this.done('image', 'create', '--name', 'digits', '--model', `digits:${version}`);
  }

  /** Attaches the cluster, and makes the service `digits` of one small replica. @returns its document */
  async createDigits(...flags: string[]): Promise<Record<string, unknown>> {
    return await this.createScaledDigits('--num-replicas', '1', '--cpu-cores', '0.1', ...flags);
  }

  /** The same, of as many and as large replicas as the flags say. */
  async createScaledDigits(...flags: string[]): Promise<Record<string, unknown>> {
    await this.done('compute', 'attach', 'sim', '--kubeconfig', this.kubeconfigFile);
    const service = ['service', 'create', 'digits', '--image', 'digits:1', '--target', 'aks/sim', '--wait'];
    return await this.done(...service, '--memory-gb', '0.25', ...flags);
  }

  async ferry(...args: string[]): Promise<FerryRun> {
    return runFerry(args, { cwd: this.folder });
  }

  /** Runs what has to work, and gives its document. */
  async done(...args: string[]): Promise<Record<string, unknown>> {
    return documentOf(await this.ferry(...args, '--json'), args) as Record<string, unknown>;
  }

  /** Gives the key of a service. */
  async keyOf(service: string): Promise<string> {
    return String((await this.done('service', 'keys', 'show', service))['primaryKey']);
  }

  /** Waits until nothing of any kind is in a namespace. */
  async becomesEmpty(namespace: string): Promise<void> {
    const isEmpty = async (): Promise<true> => {
      const lists = kinds.map(async ([apiVersion, kind]) => {
        const { items } = await this.#objects.list(apiVersion, kind, namespace);
        return items.map(({ metadata }) => `${kind}/${metadata?.name}`);
      });
      // Each namespace has this one of its own.
      const left = (await Promise.all(lists)).flat().filter((name) => name !== 'ConfigMap/kube-root-ca.crt');
      expect(left).toEqual([]);
      return true;
    };
    await until(isEmpty, { timeoutMs: 60_000, what: `an empty namespace "${namespace}"` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }
}

/** Scores the pictures, or so many of one of them. */
export async function score(uri: string, headers: Readonly<Record<string, string>>, rows?: number): Promise<Response> {
  const response = await fetch(uri, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: rows === undefined ? pictures : JSON.stringify({ pixels: Array(rows).fill(heldOut.pixels[0]) }),
  }).catch((cause: unknown) => {
    // With the stack of whoever asked, which that of fetch is not.
    throw new Error(`no answer came from ${uri}`, { cause });
  });
  await response.arrayBuffer();
  return response;
}

/** Scores one after the other while something goes on. @returns the statuses that came, and what failed */
export async function scoreWhile(
  work: () => Promise<unknown>,
  ask: () => Promise<Response>,
): Promise<ReadonlySet<number | string>> {
  const over = new AbortController();
  const answers = new Set<number | string>();
  const asking = (async () => {
    while (!over.signal.aborted) {
      answers.add(
        await ask().then(
          ({ status }) => status,
          (error: unknown) => String(error),
        ),
      );
    }
  })();
  try {
    await work();
  } finally {
    over.abort();
    await asking;
  }
  return answers;
}
