import type { Json, KubeObject } from '../objects.ts';
import { apiVersionOf, type Resource } from '../resources.ts';
import { ApiError, badRequest } from '../status.ts';
import type { Change, Store } from '../store.ts';
import type { Exchange } from './exchange.ts';
import { filterOf, type Form, formOf, single } from './lists.ts';
import { tableOf } from './table.ts';

/** How often who asked for bookmarks hears how far the cluster is, in milliseconds. */
const bookmarkEveryMs = 60_000;
/** How long a watch lasts that names no time, in seconds; a cluster takes a random one of 30 to 60 minutes. */
const watchSecondsDefault = 30 * 60;
/** Bytes that may wait for a slow watcher before it is cut; it comes back from where it was. */
const waitingBytesMax = 16 * 1024 * 1024;

/**
 * Tells a client every change of a collection as it happens, one JSON document a line, until it goes or its time is over.
 * @see https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export function watch(
  store: Store,
  resource: Resource,
  exchange: Exchange,
  of: { namespace?: string | undefined; name?: string | undefined },
): void {
  const form = formOf(exchange);
  const filter = filterOf(exchange, resource, of.name);
  const version = exchange.query.get('resourceVersion') ?? '';
  if (!/^\d*$/.test(version)) throw badRequest(`invalid resource version "${version}": a number was wanted`);
  const withInitial = exchange.flag('sendInitialEvents');
  const { response } = exchange;
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
  response.flushHeaders();
  const stream = new EventStream(exchange, resource, form);

  const isWanted = (object: KubeObject): boolean =>
    (of.namespace === undefined || object.metadata.namespace === of.namespace) && filter(object);
  try {
    if (withInitial || version === '' || version === '0') {
      for (const object of store.list(resource, of.namespace)) if (filter(object)) stream.send('ADDED', object);
      if (withInitial) stream.bookmark(store.revision, { 'k8s.io/initial-events-end': 'true' });
    } else for (const change of store.since(Number(version))) tell(stream, change, resource, isWanted);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    stream.fail(error);
    return;
  }
  const stopListening = store.listen((change) => tell(stream, change, resource, isWanted));
  const bookmarks = exchange.flag('allowWatchBookmarks')
    ? setInterval(() => stream.bookmark(store.revision), bookmarkEveryMs)
    : undefined;
  const end = setTimeout(() => response.end(), (exchange.number('timeoutSeconds') ?? watchSecondsDefault) * 1000);
  response.on('close', () => {
    stopListening();
    clearInterval(bookmarks);
    clearTimeout(end);
  });
}

/** An object that comes to be what is watched for is added, and one that stops to be is deleted, whatever it is elsewhere. */
function tell(
  stream: EventStream,
  change: Change,
  resource: Resource,
  isWanted: (object: KubeObject) => boolean,
): void {
  if (change.resource !== resource) return;
  const { type, object, previous } = change;
  const was = previous !== undefined && isWanted(previous);
  const is = type !== 'DELETED' && isWanted(object);
  if (is) stream.send(was ? 'MODIFIED' : 'ADDED', object);
  else if (was) stream.send('DELETED', object);
}

/** The lines that one watcher gets. */
class EventStream {
  readonly #exchange: Exchange;
  readonly #resource: Resource;
  readonly #form: Form;
  #isFirst = true;

  constructor(exchange: Exchange, resource: Resource, form: Form) {
    this.#exchange = exchange;
    this.#resource = resource;
    this.#form = form;
  }

  send(type: string, object: KubeObject): void {
    this.#write({ type, object: this.#formed(object) });
  }

  bookmark(revision: number, annotations?: Readonly<Record<string, string>>): void {
    const metadata: Json = {
      resourceVersion: String(revision),
      creationTimestamp: null,
      ...(annotations === undefined ? {} : { annotations }),
    };
    const object =
      this.#form.kind === 'table'
        ? tableOf(this.#resource, [], { metadata, include: 'None', withColumns: this.#isFirst })
        : { kind: this.#resource.kind, apiVersion: apiVersionOf(this.#resource), metadata };
    this.#write({ type: 'BOOKMARK', object });
  }

  fail(error: ApiError): void {
    this.#write({ type: 'ERROR', object: error.status() });
    this.#exchange.response.end();
  }

  #formed(object: KubeObject): Json {
    if (this.#form.kind !== 'table') return single(this.#resource, object, this.#form);
    const metadata = { resourceVersion: object.metadata.resourceVersion };
    const withColumns = this.#isFirst;
    this.#isFirst = false;
    return tableOf(this.#resource, [object], { metadata, include: this.#form.include, withColumns });
  }

  #write(event: Json): void {
    const { response } = this.#exchange;
    if (response.writableEnded || response.destroyed) return;
    response.write(`${JSON.stringify(event)}\n`);
    if (response.writableLength > waitingBytesMax) response.destroy();
  }
}
