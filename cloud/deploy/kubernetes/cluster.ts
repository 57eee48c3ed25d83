import type * as clientNode from '@kubernetes/client-node';
import type { ApiException, KubeConfig, KubernetesObjectApi } from '@kubernetes/client-node';
import { FerryError, messageOf } from '../../../shared/errors.ts';
import type { KubernetesObject } from './service-objects.ts';

/** Who the objects' fields belong to. */
const fieldManager = 'modelferry';
/** Who a number of replicas belongs to that is the autoscaler's to change. */
const scaleManager = 'modelferry-scale';

/** A pod, as far as it is looked at. */
export interface PodView {
  readonly metadata?: {
    readonly name?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: unknown;
  };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
    readonly containerStatuses?: readonly ContainerView[];
  };
}

/** How a container of a pod is. */
export interface ContainerView {
  readonly ready: boolean;
  readonly restartCount: number;
  readonly state?: StateView;
  readonly lastState?: StateView;
}

interface StateView {
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly terminated?: { readonly exitCode: number; readonly reason?: string; readonly message?: string };
}

/** What says who has the number of replicas. */
interface ScaledView {
  readonly metadata?: {
    readonly managedFields?: readonly {
      readonly manager?: string;
      readonly fieldsV1?: { readonly 'f:spec'?: { readonly 'f:replicas'?: object } };
    }[];
  };
  readonly spec?: { readonly replicas?: number };
}

/** Any Kubernetes cluster, through its API: what a deployer does with it. */
export class Cluster {
  readonly server: string;
  readonly #config: KubeConfig;
  readonly #objects: KubernetesObjectApi;
  readonly #client: typeof clientNode;

  private constructor(config: KubeConfig, client: typeof clientNode) {
    this.#config = config;
    this.#client = client;
    this.#objects = client.KubernetesObjectApi.makeApiClient(config);
    this.server = config.getCurrentCluster()?.server ?? '';
  }

  /**
   * Finds a cluster by a kubeconfig.
   * @throws {FerryError} CONFIG_INVALID when the kubeconfig, or the context in it, is not there
   */
  static async open(of: {
    /** Path of the kubeconfig. @default the user's own */
    readonly kubeconfig?: string | undefined;
    /** The kubeconfig itself, in place of a path. */
    readonly text?: string | undefined;
    readonly context?: string | undefined;
  }): Promise<Cluster> {
    // Loaded late: it is large.
    const client = await import('@kubernetes/client-node');
    const config = new client.KubeConfig();
    const { kubeconfig, text, context } = of;
    try {
      if (text !== undefined) config.loadFromString(text);
      else if (kubeconfig === undefined) config.loadFromDefault();
      else config.loadFromFile(kubeconfig);
    } catch (cause) {
      throw new FerryError(
        'CONFIG_INVALID',
        `Cannot read the kubeconfig "${kubeconfig ?? 'of this user'}": it is not there, or no kubeconfig`,
        { cause },
      );
    }
    if (context !== undefined) {
      if (config.getContextObject(context) === null) {
        const names = config.getContexts().map(({ name }) => `"${name}"`);
        throw new FerryError(
          'CONFIG_INVALID',
          `Cannot use the context "${context}": the kubeconfig has ${names.join(', ')}`,
        );
      }
      config.setCurrentContext(context);
    }
    if (config.getCurrentCluster() === null) {
      throw new FerryError('CONFIG_INVALID', 'Cannot find the cluster: the kubeconfig has no current context');
    }
    return new Cluster(config, client);
  }

  /** Applies an object, or only asks whether it would be taken. @throws {FerryError} SERVICE_FAILED with the cluster's own words */
  async apply(object: KubernetesObject, options: { readonly dryRun: boolean }): Promise<void> {
    const dryRun = options.dryRun ? 'All' : undefined;
    const { ServerSideApply } = this.#client.PatchStrategy;
    await this.#do(`apply the ${nameOf(object)}`, () =>
      this.#objects.patch(plain(object), undefined, dryRun, fieldManager, true, ServerSideApply),
    );
  }

  /**
   * Gives the number of replicas that a deployment has to another owner, where we have it: what its owner no longer says would be 1 again, before an
   * autoscaler has said anything.
   * @see https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership
   */
  async leaveReplicas({ apiVersion, kind, metadata: { name, namespace = '' } }: KubernetesObject): Promise<void> {
    const deployment = { apiVersion, kind, metadata: { name, namespace } };
    const there = await this.read<ScaledView>(deployment);
    const fields = there?.metadata?.managedFields?.filter(({ manager }) => manager === fieldManager) ?? [];
    const replicas = there?.spec?.replicas;
    if (replicas === undefined || !fields.some(({ fieldsV1 }) => fieldsV1?.['f:spec']?.['f:replicas'])) return;
    const { ServerSideApply } = this.#client.PatchStrategy;
    await this.#do(`leave the replicas of the ${nameOf(deployment)} to its autoscaler`, () =>
      this.#objects.patch(
        plain({ ...deployment, spec: { replicas } }),
        undefined,
        undefined,
        scaleManager,
        true,
        ServerSideApply,
      ),
    );
  }

  /** Reads an object; undefined when it is not there. */
  async read<T>(object: KubernetesObject): Promise<T | undefined> {
    return this.#do(`read the ${nameOf(object)}`, () =>
      ignoreMissing(this.#objects.read(plain(object)).then((found) => found as unknown as T)),
    );
  }

  /** Deletes an object and what belongs to it; gives whether it was there. */
  async remove(object: KubernetesObject): Promise<boolean> {
    const gone = await this.#do(`delete the ${nameOf(object)}`, () =>
      ignoreMissing(this.#objects.delete(plain(object), undefined, undefined, undefined, undefined, 'Background')),
    );
    return gone !== undefined;
  }

  /** Lists the objects of a kind that have labels. */
  async list<T>(of: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly namespace: string;
    readonly selector: string;
  }): Promise<readonly T[]> {
    const { apiVersion, kind, namespace, selector } = of;
    const none = undefined;
    const { items } = await this.#do(`list the objects of kind ${kind}`, () =>
      this.#objects.list(apiVersion, kind, namespace, none, none, none, none, selector),
    );
    return items as unknown as readonly T[];
  }

  async pods(namespace: string, labelSelector: string): Promise<readonly PodView[]> {
    const core = this.#config.makeApiClient(this.#client.CoreV1Api);
    const { items } = await this.#do('list the pods', () => core.listNamespacedPod({ namespace, labelSelector }));
    return items;
  }

  /** Gives the last lines of a pod's output. */
  async logs(
    namespace: string,
    of: { readonly name: string; readonly container: string; readonly tailLines: number },
  ): Promise<string> {
    const core = this.#config.makeApiClient(this.#client.CoreV1Api);
    return this.#do(`read the output of "${of.name}"`, () => core.readNamespacedPodLog({ namespace, ...of }));
  }

  async #do<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      const code = codeOf(cause);
      const isDenied = code === 401;
      throw new FerryError(
        isDenied ? 'UNAUTHORIZED' : 'SERVICE_FAILED',
        `Cannot ${what} in the cluster ${this.server}: ${code === undefined ? 'it does not answer' : wordsOf(cause)}`,
        code === undefined ? { cause: new Error(messageOf(cause)) } : {},
      );
    }
  }
}

function nameOf({ kind, metadata }: KubernetesObject): string {
  const { namespace, name } = metadata;
  return `${kind} "${namespace === undefined ? name : `${namespace}/${name}`}"`;
}

/** The client wants an object of its own that it may write to. */
function plain(object: KubernetesObject): {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace: string };
} {
  return JSON.parse(JSON.stringify(object)) as ReturnType<typeof plain>;
}

function codeOf(error: unknown): number | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
}

/** The cluster's own message; its body may come as text. */
function wordsOf(error: unknown): string {
  const { body, code } = error as ApiException<unknown>;
  try {
    const status = (typeof body === 'string' ? JSON.parse(body) : body) as { message?: string };
    return `${code}, ${status.message ?? 'without a reason'}`;
  } catch {
    return String(code);
  }
}

async function ignoreMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === 404) return undefined;
    throw error;
  }
}
