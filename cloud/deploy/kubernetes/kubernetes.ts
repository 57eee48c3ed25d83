import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import { clusterKubeconfig } from '../../azure/managed-cluster.ts';
import type { Compute } from '../../workspace/config.ts';
import type { Workspace } from '../../workspace/workspace.ts';
import type {
  Deployer,
  DeployerContext,
  Deployment,
  DeployOptions,
  DeployPlan,
  DesiredService,
  ServiceLogOptions,
} from '../deployer.ts';
import type { ServiceRecord } from '../service-records.ts';
import type { ServiceStatus } from '../service-state.ts';
import { applyInOrder } from './apply-in-order.ts';
import { Cluster } from './cluster.ts';
import { clusterServiceState, type DeploymentView, type ServiceView } from './cluster-service-state.ts';
import { componentLabel, labelsOf, routerComponent } from './object-names.ts';
import { type KubernetesObject, namespaceObject, serviceObjects, withoutSecrets } from './service-objects.ts';
import { serviceParts } from './service-parts.ts';

const deploymentSchema = z.object({ namespace: z.string(), server: z.string() });

/** How often new output is asked for, in milliseconds. */
const followEveryMs = 1_000;
/** Lines that a replica may write in that time without one being lost. */
const linesMax = 1_000;

/** Kinds of what a service may have, in the order in which they are removed: what takes requests first. */
const kinds = [
  ['autoscaling/v2', 'HorizontalPodAutoscaler'],
  ['v1', 'Service'],
  ['apps/v1', 'Deployment'],
  ['policy/v1', 'PodDisruptionBudget'],
  ['networking.k8s.io/v1', 'NetworkPolicy'],
  ['v1', 'Secret'],
] as const;

/**
 * Opens the deployer for a Kubernetes cluster: AKS, by its name or by a kubeconfig, or any other.
 * @throws {FerryError} CONFIG_INVALID when the kubeconfig cannot be used, or Azure has no such cluster
 */
export async function openKubernetes({ workspace, compute, signal }: DeployerContext): Promise<Deployer> {
  const { namespace, kubeconfig, context, cluster, resourceGroup } = kubernetesCompute(compute);
  const fetched =
    cluster === undefined || kubeconfig !== undefined
      ? undefined
      : await clusterKubeconfig(workspace, { cluster, resourceGroup, signal });
  const opened = await Cluster.open(fetched === undefined ? { kubeconfig, context } : { text: fetched, context });
  return new KubernetesDeployer(workspace, opened, namespace);
}

function kubernetesCompute(compute: Compute | undefined): Extract<Compute, { kind: 'kubernetes' }> {
  if (compute?.kind === 'kubernetes') return compute;
  throw new Error('The table of targets says that Kubernetes needs a compute of its kind');
}

/** Brings services about as objects of a cluster, by server-side apply: the same service again changes nothing. */
class KubernetesDeployer implements Deployer {
  readonly #workspace: Workspace;
  readonly #cluster: Cluster;
  readonly #namespace: string;

  constructor(workspace: Workspace, cluster: Cluster, namespace: string) {
    this.#workspace = workspace;
    this.#cluster = cluster;
    this.#namespace = namespace;
  }

  async check(desired: DesiredService, _current: ServiceRecord | undefined, options: DeployOptions): Promise<void> {
    refuseFlavor(desired);
    const [objects, hasNamespace] = await Promise.all([
      this.#objects(desired, options.signal),
      this.#hasNamespace(desired),
    ]);
    if (!hasNamespace) {
      await this.#cluster.apply(namespaceObject(this.#namespaceOf(desired)), { dryRun: true });
      return;
    }
    await this.#refuseOthers(desired.name, objects);
    // The cluster itself says what it would not take: quotas, security, rights.
    await Promise.all(objects.map((object) => this.#cluster.apply(object, { dryRun: true })));
  }

  async plan(
    desired: DesiredService,
    _current: ServiceRecord | undefined,
    options: DeployOptions,
  ): Promise<DeployPlan> {
    const namespace = this.#namespaceOf(desired);
    const made = (await this.#hasNamespace(desired)) ? [] : [namespaceObject(namespace)];
    const objects = [...made, ...(await this.#objects(desired, options.signal))];
    const where = `in the namespace "${namespace}" of ${this.#cluster.server}`;
    return {
      steps: objects.map(({ kind, metadata }) => `apply the ${kind} "${metadata.name}" ${where}`),
      documents: withoutSecrets(objects),
    };
  }

  async apply(
    desired: DesiredService,
    _current: ServiceRecord | undefined,
    { note, signal }: DeployOptions,
  ): Promise<Deployment> {
    const namespace = this.#namespaceOf(desired);
    const objects = await this.#objects(desired, signal);
    if (!(await this.#hasNamespace(desired))) {
      await this.#cluster.apply(namespaceObject(namespace), { dryRun: false });
      note(`${desired.name}: made the namespace "${namespace}"`);
    }
    await applyInOrder(this.#cluster, objects, { service: desired.name, note, signal });
    // What a service no longer has goes once the rest is there.
    const left = (await this.#owned(desired.name, namespace)).filter(
      ({ kind, metadata }) => !objects.some((one) => one.kind === kind && one.metadata.name === metadata.name),
    );
    for (const object of left) await this.#cluster.remove(object);
    return { namespace, server: this.#cluster.server };
  }

  async observe(record: ServiceRecord): Promise<ServiceStatus> {
    const { namespace } = this.#deploymentOf(record);
    const selector = selectorOf(record.name);
    const address = { apiVersion: 'v1', kind: 'Service', metadata: { name: record.name, namespace } };
    const [deployments, service, pods] = await Promise.all([
      this.#cluster.list<DeploymentView>({ apiVersion: 'apps/v1', kind: 'Deployment', namespace, selector }),
      this.#cluster.read<ServiceView>(address),
      this.#cluster.pods(namespace, selector),
    ]);
    return clusterServiceState({ deployments, service, pods });
  }

  async *logs(record: ServiceRecord, { tail, follow, signal }: ServiceLogOptions): AsyncIterable<string> {
    const { namespace } = this.#deploymentOf(record);
    const last = new Map<string, string>();
    for (;;) {
      const pods = await this.#cluster.pods(namespace, selectorOf(record.name));
      const running = pods.filter(({ status }) => status?.phase === 'Running');
      for (const { metadata: { name = '', labels = {} } = {} } of running) {
        const before = last.get(name);
        const container = labels[componentLabel] === routerComponent ? 'router' : 'scoring';
        const tailLines = before === undefined ? tail : linesMax;
        const text = await this.#cluster.logs(namespace, { name, container, tailLines });
        const lines = text.split('\n').filter((line) => line !== '');
        // Lines have their time in them, so the last one that was given is found again.
        const fresh = before === undefined ? lines : lines.slice(lines.lastIndexOf(before) + 1);
        for (const line of fresh) yield running.length > 1 ? `${name}: ${line}` : line;
        last.set(name, fresh.at(-1) ?? before ?? '');
      }
      if (!follow || signal.aborted) return;
      await sleep(followEveryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async remove(record: ServiceRecord): Promise<readonly string[]> {
    const { namespace } = this.#deploymentOf(record);
    const removed: string[] = [];
    for (const object of await this.#owned(record.name, namespace)) {
      if (await this.#cluster.remove(object)) removed.push(`the ${object.kind} "${namespace}/${object.metadata.name}"`);
    }
    return removed;
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #objects(desired: DesiredService, signal: AbortSignal): Promise<KubernetesObject[]> {
    const namespace = this.#namespaceOf(desired);
    return serviceObjects(desired, await serviceParts(this.#workspace, desired, { namespace, signal }));
  }

  /** Finds all objects of a service by their labels. */
  async #owned(service: string, namespace: string): Promise<KubernetesObject[]> {
    const selector = selectorOf(service);
    const found = kinds.map(async ([apiVersion, kind]) => {
      const items = await this.#cluster.list<{ metadata?: { name?: string } }>({
        apiVersion,
        kind,
        namespace,
        selector,
      });
      return items.map(({ metadata }) => ({ apiVersion, kind, metadata: { name: metadata?.name ?? '', namespace } }));
    });
    return (await Promise.all(found)).flat();
  }

  async #hasNamespace(desired: DesiredService): Promise<boolean> {
    return (await this.#cluster.read(namespaceObject(this.#namespaceOf(desired)))) !== undefined;
  }

  #namespaceOf({ settings }: DesiredService): string {
    return settings.namespace ?? this.#namespace;
  }

  #deploymentOf(record: ServiceRecord): z.infer<typeof deploymentSchema> {
    const read = deploymentSchema.safeParse(record.deployment);
    // Nothing is written down where a program was killed while it made the service.
    return read.success
      ? read.data
      : { namespace: record.settings.namespace ?? this.#namespace, server: this.#cluster.server };
  }

  /** @throws {FerryError} SERVICE_EXISTS when somebody else, or another service, has an object of that name */
  async #refuseOthers(service: string, objects: readonly KubernetesObject[]): Promise<void> {
    const wanted = Object.entries(labelsOf(service));
    await Promise.all(
      objects.map(async (object) => {
        const there = await this.#cluster.read<{ metadata?: { labels?: Record<string, string> } }>(object);
        if (there === undefined) return;
        const labels = there.metadata?.labels ?? {};
        if (wanted.every(([key, value]) => labels[key] === value)) return;
        const { namespace, name } = object.metadata;
        throw new FerryError(
          'SERVICE_EXISTS',
          `Cannot deploy "${service}": the cluster has a ${object.kind} "${namespace}/${name}" of somebody else`,
        );
      }),
    );
  }
}

/** An image for an accelerator is built with the checks that keep its model off the processor. */
function refuseFlavor({ name, target, image }: DesiredService): void {
  if (target.kind !== 'fpga' || image.flavor === 'fpga') return;
  throw new FerryError(
    'SERVICE_INVALID',
    `Cannot deploy "${name}" to "fpga": the image "${image.name}:${image.version}" is of the flavor "${image.flavor}", "fpga" was wanted`,
    { next: 'Build it anew: ferry image create --flavor fpga' },
  );
}

function selectorOf(service: string): string {
  return Object.entries(labelsOf(service))
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}
