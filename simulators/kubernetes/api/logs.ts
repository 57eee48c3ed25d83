import type { ContainerEngine, LogSelection } from '../../../shared/containers/engine.ts';
import type { Kubelet } from '../node/kubelet.ts';
import type { Pod } from '../objects.ts';
import { kinds } from '../resources.ts';
import { badRequest } from '../status.ts';
import type { Store } from '../store.ts';
import type { Exchange } from './exchange.ts';

/** How often new output is looked for while somebody follows it, in milliseconds. */
const followEveryMs = 300;

/** Gives the output of a pod's container; with `follow` until it has ended or the client goes. */
export async function answerLog(
  exchange: Exchange,
  of: { store: Store; kubelet: Kubelet; engine: ContainerEngine; namespace: string; name: string },
): Promise<void> {
  const { store, kubelet, engine, namespace, name } = of;
  const pod = store.get<Pod>(kinds.pod, namespace, name);
  const container = containerOf(pod, exchange.query.get('container'));
  if (exchange.flag('timestamps'))
    throw badRequest('timestamps are not simulated: the lines of our own programs have their time in them');
  const which = exchange.flag('previous') ? 'previous' : 'current';
  const run = kubelet.engineName(pod, container, which);
  if (run === undefined) {
    if (which === 'previous')
      throw badRequest(`previous terminated container "${container}" in pod "${name}" not found`);
    const status = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])].find(
      (one) => one.name === container,
    );
    const reason = status?.state?.waiting?.reason ?? 'ContainerCreating';
    throw badRequest(`container "${container}" in pod "${name}" is waiting to start: ${reason}`);
  }
  const selection = selectionOf(exchange);
  const limit = exchange.number('limitBytes') ?? Number.POSITIVE_INFINITY;
  const { response } = exchange;
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  let text = await engine.logs(run, selection);
  response.write(text.slice(0, limit));
  if (exchange.flag('follow')) {
    // From here on the whole output counts, of which the last lines are known.
    let seen = (await engine.logs(run)).length;
    while (!response.destroyed && kubelet.engineName(pod, container, 'current') === run) {
      await new Promise((resolve) => setTimeout(resolve, followEveryMs));
      text = await engine.logs(run).catch(() => '');
      if (text.length > seen) response.write(text.slice(seen));
      // Rotated: what there is now is all new.
      else if (text.length < seen) response.write(text);
      seen = text.length;
      const isRunning = (await engine.list()).some((one) => one.name === run && one.status === 'running');
      if (!isRunning) break;
    }
  }
  response.end();
}

function containerOf({ metadata, spec }: Pod, wanted: string | null): string {
  const names = [...spec.containers, ...(spec.initContainers ?? [])].map(({ name }) => name);
  if (wanted !== null && wanted !== '') {
    if (names.includes(wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${metadata.name}`);
  }
  const [first = '', ...others] = spec.containers.map(({ name }) => name);
  if (others.length === 0) return first;
  throw badRequest(`a container name must be specified for pod ${metadata.name}, choose one of: [${names.join(' ')}]`);
}

function selectionOf(exchange: Exchange): LogSelection {
  const tail = exchange.number('tailLines');
  const sinceSeconds = exchange.number('sinceSeconds');
  const sinceTime = exchange.query.get('sinceTime');
  const sinceMs = sinceSeconds === undefined ? Date.parse(sinceTime ?? '') : Date.now() - sinceSeconds * 1000;
  return { ...(tail === undefined ? {} : { tail }), ...(Number.isNaN(sinceMs) ? {} : { sinceMs }) };
}
