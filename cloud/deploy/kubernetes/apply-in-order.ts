import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { FerryError } from '../../../shared/errors.ts';
import type { Cluster } from './cluster.ts';
import { type DeploymentView, isDeployed } from './cluster-service-state.ts';
import { routerName } from './object-names.ts';
import type { KubernetesObject } from './service-objects.ts';

/** How long pods may take that requests are to be sent to in place of others, in milliseconds. */
const readyTimeoutMs = 120_000;
const readyPollMs = 250;

/**
 * Applies a service's objects: first what pods need, then versions and their router, then the address that requests come to, and at the end
 * the service's own pods. Where requests are to go to a router from now on, it waits until that answers, so that no request is lost; the service's own pods
 * are new ones then, since clients would keep their connections to the old ones, past the router.
 * @throws {FerryError} TIMEOUT when they do not; requests go where they went
 */
export async function applyInOrder(
  cluster: Cluster,
  objects: readonly KubernetesObject[],
  options: { readonly service: string; readonly note: (line: string) => void; readonly signal: AbortSignal },
): Promise<void> {
  const { service, note, signal } = options;
  const isOwn = ({ metadata }: KubernetesObject): boolean => metadata.name === service;
  const ofKind = (...kinds: string[]): KubernetesObject[] => objects.filter(({ kind }) => kinds.includes(kind));
  const apply = async (stage: readonly KubernetesObject[]): Promise<void> => {
    await Promise.all(
      stage.map(async (object) => {
        if (object.kind === 'Deployment' && !hasReplicas(object)) await cluster.leaveReplicas(object);
        await cluster.apply(object, { dryRun: false });
      }),
    );
  };
  const [front] = ofKind('Service').filter(isOwn);
  if (front === undefined) throw new Error('A service has an address');
  const pods = ofKind('Deployment', 'HorizontalPodAutoscaler');
  const versions = pods.filter((object) => !isOwn(object));
  await apply(objects.filter((object) => object !== front && !pods.includes(object)));
  await apply(versions);
  const router = versions.find(({ metadata }) => metadata.name === routerName(service));
  if (router !== undefined && (await isTurned(cluster, front))) {
    note(`${service}: waiting for the router, which takes the requests from then on`);
    await untilDeployed(cluster, router, { service, signal });
  }
  await apply([front]);
  await apply(pods.filter(isOwn));
}

/** One that says none is scaled by load. */
function hasReplicas(deployment: KubernetesObject): boolean {
  return Object.hasOwn(deployment['spec'] as object, 'replicas');
}

/** Says whether a service that is there sends its requests to other pods. */
async function isTurned(cluster: Cluster, front: KubernetesObject): Promise<boolean> {
  const selectorOf = (of: unknown): Record<string, string> =>
    (of as { spec?: { selector?: Record<string, string> } }).spec?.selector ?? {};
  const there = await cluster.read(front);
  return there !== undefined && !isDeepStrictEqual(selectorOf(there), selectorOf(front));
}

async function untilDeployed(
  cluster: Cluster,
  deployment: KubernetesObject,
  { service, signal }: { readonly service: string; readonly signal: AbortSignal },
): Promise<void> {
  const endMs = performance.now() + readyTimeoutMs;
  for (;;) {
    const seen = await cluster.read<DeploymentView>(deployment);
    if (seen !== undefined && isDeployed(seen)) return;
    if (performance.now() >= endMs) {
      const found = `its router is not ready after ${readyTimeoutMs / 1000} s`;
      throw new FerryError('TIMEOUT', `Cannot send requests for "${service}" to its versions: ${found}`);
    }
    await sleep(readyPollMs, undefined, { signal });
  }
}
