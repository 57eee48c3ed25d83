import type { Kubelet } from '../node/kubelet.ts';
import type { Json, Node, Pod } from '../objects.ts';
import { kinds } from '../resources.ts';
import { labelFilter } from '../selectors.ts';
import { notFound } from '../status.ts';
import type { Store } from '../store.ts';
import type { Exchange } from './exchange.ts';

const apiVersion = 'metrics.k8s.io/v1beta1';
const root = '/apis/metrics.k8s.io/v1beta1';

/** Answers what pods and nodes take now; undefined for other paths. @throws {ApiError} 404 of what nothing is known of */
export function answerMetrics(
  exchange: Exchange,
  { store, kubelet }: { store: Store; kubelet: Kubelet },
): Json | undefined {
  if (!exchange.path.startsWith(`${root}/`)) return undefined;
  const parts = exchange.path.slice(root.length + 1).split('/');
  const [namespace, plural, name] =
    parts[0] === 'namespaces' ? [parts[1], parts[2], parts[3]] : [undefined, parts[0], parts[1]];
  const filter = labelFilter(exchange.query.get('labelSelector') ?? '');
  const isMeant = (object: { metadata: { name: string } }): boolean =>
    (name === undefined || object.metadata.name === name) && filter(object);
  const items =
    plural === 'nodes'
      ? store
          .list<Node>(kinds.node)
          .filter(isMeant)
          .map((node) => nodeMetrics(node, store, kubelet))
      : plural === 'pods'
        ? store
            .list<Pod>(kinds.pod, namespace)
            .filter(isMeant)
            .map((pod) => podMetrics(pod, kubelet))
            .filter((one) => one !== undefined)
        : undefined;
  if (items === undefined) return undefined;
  const kind = plural === 'nodes' ? 'NodeMetrics' : 'PodMetrics';
  if (name === undefined) return { kind: `${kind}List`, apiVersion, metadata: {}, items };
  const [found] = items;
  if (found === undefined) throw notFound({ group: 'metrics.k8s.io', kind, plural: plural ?? '' }, name);
  return found;
}

/** What a pod takes, container by container; undefined before it is measured. */
function podMetrics(pod: Pod, kubelet: Kubelet): Json | undefined {
  const containers = pod.spec.containers.flatMap(({ name }) => {
    const usage = kubelet.usageOf(pod, name);
    return usage === undefined ? [] : [{ name, usage: usageText(usage.cpu, usage.memoryBytes) }];
  });
  if (containers.length === 0) return undefined;
  const { name, namespace, labels, creationTimestamp } = pod.metadata;
  return {
    kind: 'PodMetrics',
    apiVersion,
    metadata: { name, namespace, ...(labels === undefined ? {} : { labels }), creationTimestamp },
    timestamp: new Date().toISOString(),
    window: '5s',
    containers,
  };
}

/** What the pods of a node take together. */
function nodeMetrics({ metadata }: Node, store: Store, kubelet: Kubelet): Json {
  let cpu = 0;
  let memoryBytes = 0;
  for (const pod of store.list<Pod>(kinds.pod).filter(({ spec }) => spec.nodeName === metadata.name)) {
    for (const { name } of pod.spec.containers) {
      const usage = kubelet.usageOf(pod, name);
      cpu += usage?.cpu ?? 0;
      memoryBytes += usage?.memoryBytes ?? 0;
    }
  }
  return {
    kind: 'NodeMetrics',
    apiVersion,
    metadata: { name: metadata.name, creationTimestamp: metadata.creationTimestamp },
    timestamp: new Date().toISOString(),
    window: '5s',
    usage: usageText(cpu, memoryBytes),
  };
}

function usageText(cpu: number, memoryBytes: number): Json {
  return { cpu: `${Math.round(cpu * 1e9)}n`, memory: `${Math.round(memoryBytes / 1024)}Ki` };
}
