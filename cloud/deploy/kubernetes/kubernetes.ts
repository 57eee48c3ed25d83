import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { FerryError } from '../../../shared/errors.ts';
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
import { findPublishedImage } from '../published-image.ts';
import type { ServiceRecord } from '../service-records.ts';
import type { ServiceStatus } from '../service-state.ts';
import { Cluster } from './cluster.ts';
import { clusterServiceState, type DeploymentView, type ServiceView } from './cluster-service-state.ts';
import { type KubernetesObject, labelsOf, secretName, serviceObjects, withoutSecrets } from './service-objects.ts';

const deploymentSchema = z.object({ namespace: z.string(), server: z.string() });

/** How often new output is asked for, in milliseconds. */
const followEveryMs = 1_000;
/** Lines that a replica may write in that time without one being lost. */
const linesMax = 1_000;

/**
 * Opens the deployer for a Kubernetes cluster: AKS, or any other.
 * @throws {FerryError} CONFIG_INVALID when the kubeconfig cannot be used
 */
export async function openKubernetes({ workspace, compute }: DeployerContext): Promise<Deployer> {
  const { namespace, kubeconfig, context, cluster } = kubernetesCompute(compute);
  if (cluster !== undefined && kubeconfig === undefined) {
    throw new FerryError(
      'CONFIG_INVALID',
      `Cannot fetch the credentials of the cluster "${cluster}": a kubeconfig was wanted`,
      {
        next: `Write one: az aks get-credentials --name ${cluster} --file FILE, and attach the cluster with it.`,
      },
    );
  }
  return new KubernetesDeployer(workspace, await Cluster.open({ kubeconfig, context }), namespace);
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
    const { collect, appInsights } = desired.settings;
    const missing = [...(collect ? ['collection'] : []), ...(appInsights ? ['Application Insights'] : [])];
    if (missing.length > 0) {
      const message = `Cannot deploy "${desired.name}" to Kubernetes with ${missing.join(' and ')}: this version has none there`;
      throw new FerryError('SERVICE_INVALID', message);
    }
    const objects = await this.#objects(desired, options.signal);
    await this.#refuseOthers(desired.name, objects);
    // The cluster itself says what it would not take: quotas, security, rights.
    for (const object of objects) await this.#cluster.apply(object, { dryRun: true });
  }

  async plan(
    desired: DesiredService,
    _current: ServiceRecord | undefined,
    options: DeployOptions,
  ): Promise<DeployPlan> {
    const objects = await this.#objects(desired, options.signal);
    const where = `in the namespace "${this.#namespaceOf(desired)}" of ${this.#cluster.server}`;
    return {
      steps: objects.map(({ kind, metadata }) => `apply the ${kind} "${metadata.name}" ${where}`),
      documents: withoutSecrets(objects),
    };
  }

  async apply(
    desired: DesiredService,
    _current: ServiceRecord | undefined,
    options: DeployOptions,
  ): Promise<Deployment> {
    const objects = await this.#objects(desired, options.signal);
    for (const object of objects) await this.#cluster.apply(object, { dryRun: false });
    const namespace = this.#namespaceOf(desired);
    // What a service no longer has goes once the rest is there.
    const left = everyObject(desired.name, namespace).filter(
      ({ kind, metadata }) => !objects.some((one) => one.kind === kind && one.metadata.name === metadata.name),
    );
    for (const object of left) await this.#cluster.remove(object);
    return { namespace, server: this.#cluster.server };
  }

  async observe(record: ServiceRecord): Promise<ServiceStatus> {
    const { namespace } = this.#deploymentOf(record);
    const all = everyObject(record.name, namespace);
    const [deployment, service, pods] = await Promise.all([
      this.#cluster.read<DeploymentView>(objectOf(all, 'Deployment')),
      this.#cluster.read<ServiceView>(objectOf(all, 'Service')),
      this.#cluster.pods(namespace, selectorOf(record.name)),
    ]);
    return clusterServiceState({ deployment, service, pods });
  }

  async *logs(record: ServiceRecord, { tail, follow, signal }: ServiceLogOptions): AsyncIterable<string> {
    const { namespace } = this.#deploymentOf(record);
    const last = new Map<string, string>();
    for (;;) {
      const pods = await this.#cluster.pods(namespace, selectorOf(record.name));
      const names = pods
        .filter(({ status }) => status?.phase === 'Running')
        .map(({ metadata }) => metadata?.name ?? '');
      for (const name of names) {
        const before = last.get(name);
        const text = await this.#cluster.logs(namespace, name, before === undefined ? tail : linesMax);
        const lines = text.split('\n').filter((line) => line !== '');
        // Lines have their time in them, so the last one that was given is found again.
        const fresh = before === undefined ? lines : lines.slice(lines.lastIndexOf(before) + 1);
        for (const line of fresh) yield names.length > 1 ? `${name}: ${line}` : line;
        last.set(name, fresh.at(-1) ?? before ?? '');
      }
      if (!follow || signal.aborted) return;
      await sleep(followEveryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async remove(record: ServiceRecord): Promise<readonly string[]> {
    const { namespace } = this.#deploymentOf(record);
    const removed: string[] = [];
    for (const object of everyObject(record.name, namespace).toReversed()) {
      if (await this.#cluster.remove(object)) removed.push(`the ${object.kind} "${namespace}/${object.metadata.name}"`);
    }
    return removed;
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #objects(desired: DesiredService, signal: AbortSignal): Promise<KubernetesObject[]> {
    const image = await findPublishedImage(this.#workspace, desired.image, signal);
    return serviceObjects(desired, { namespace: this.#namespaceOf(desired), image });
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

  /** @throws {FerryError} SERVICE_EXISTS when somebody else has an object of that name */
  async #refuseOthers(service: string, objects: readonly KubernetesObject[]): Promise<void> {
    for (const object of objects) {
      const there = await this.#cluster.read<{ metadata?: { labels?: Record<string, string> } }>(object);
      const owner = there?.metadata?.labels?.['app.kubernetes.io/managed-by'];
      if (there === undefined || owner === 'modelferry') continue;
      const { namespace, name } = object.metadata;
      throw new FerryError(
        'SERVICE_EXISTS',
        `Cannot deploy "${service}": the cluster has a ${object.kind} "${namespace}/${name}" of somebody else`,
      );
    }
  }
}

/** All objects that a service may have, by name alone. */
function everyObject(service: string, namespace: string): KubernetesObject[] {
  const kinds = [
    ['v1', 'Secret', secretName(service)],
    ['networking.k8s.io/v1', 'NetworkPolicy', service],
    ['policy/v1', 'PodDisruptionBudget', service],
    ['apps/v1', 'Deployment', service],
    ['v1', 'Service', service],
    ['autoscaling/v2', 'HorizontalPodAutoscaler', service],
  ] as const;
  return kinds.map(([apiVersion, kind, name]) => ({
    apiVersion,
    kind,
    metadata: { name, namespace, labels: labelsOf(service) },
  }));
}

function objectOf(objects: readonly KubernetesObject[], kind: string): KubernetesObject {
  const found = objects.find((object) => object.kind === kind);
  if (found === undefined) throw new Error(`A service has no ${kind}`);
  return found;
}

function selectorOf(service: string): string {
  return Object.entries(labelsOf(service))
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}
