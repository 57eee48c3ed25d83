import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { ContainerEngine } from '../../../shared/containers/engine.ts';
import { FerryError, systemCodeOf } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import type { Certificates } from '../../certificates.ts';
import type { Kubelet } from '../node/kubelet.ts';
import type { DisruptionBudget, Pod } from '../objects.ts';
import { remove } from '../remover.ts';
import { kinds } from '../resources.ts';
import { matches } from '../selectors.ts';
import { ApiError } from '../status.ts';
import type { Store } from '../store.ts';
import type { Writer } from '../writer.ts';
import { addressOf } from './address.ts';
import { discover } from './discovery.ts';
import { Exchange } from './exchange.ts';
import { answerLog } from './logs.ts';
import { answerMetrics } from './metrics.ts';
import { ObjectsApi } from './objects-api.ts';
import { openapi } from './openapi.ts';

/** The settings of {@link startServer}. */
export interface ServerOptions {
  readonly store: Store;
  readonly writer: Writer;
  readonly kubelet: Kubelet;
  readonly engine: ContainerEngine;
  readonly certificates: Certificates;
  /** What every request has to bring along. */
  readonly token: string;
  readonly host: string;
  readonly port: number;
  readonly log: Logger;
}

/** What may be asked without a token, as in a cluster. */
const open = new Set(['/healthz', '/livez', '/readyz', '/version']);

/**
 * Starts the API server of the cluster: HTTPS with bearer tokens.
 * @throws {FerryError} PORT_IN_USE
 */
export async function startServer(options: ServerOptions): Promise<AsyncDisposable & { readonly port: number }> {
  const { certificates, host, log } = options;
  const objects = new ObjectsApi(options.store, options.writer);
  const server = createServer(
    { cert: certificates.certPem, key: certificates.keyPem, minVersion: 'TLSv1.2' },
    (request, response) => {
      void serve(request, response, { ...options, objects });
    },
  );
  // Watches and followed logs last as long as they are wanted.
  server.requestTimeout = 60_000;
  server.timeout = 0;
  await listen(server, host, options.port);
  const { port } = server.address() as AddressInfo;
  log.info({ host, port }, 'kubernetes listens');
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (cause) {
    if (systemCodeOf(cause) !== 'EADDRINUSE') throw cause;
    throw new FerryError(
      'PORT_IN_USE',
      `Cannot listen on ${host}:${port}: something else does, a free port was wanted`,
      { cause },
    );
  }
}

type Parts = ServerOptions & { readonly objects: ObjectsApi };

async function serve(request: IncomingMessage, response: ServerResponse, parts: Parts): Promise<void> {
  const exchange = new Exchange(request, response);
  try {
    if (!open.has(exchange.path)) authenticate(exchange, parts.token);
    await answer(exchange, parts);
  } catch (error) {
    if (error instanceof ApiError) return exchange.refuse(error);
    if (request.destroyed) return;
    parts.log.error({ err: error, url: request.url }, 'request failed');
    exchange.refuse(
      new ApiError(500, 'InternalError', 'Internal error occurred: the simulator failed, its log says why'),
    );
  }
}

/** @throws {ApiError} 401 */
function authenticate(exchange: Exchange, token: string): void {
  const given = /^Bearer (.+)$/.exec(exchange.request.headers.authorization ?? '')?.[1] ?? '';
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  if (!timingSafeEqual(digest(given), digest(token))) throw new ApiError(401, 'Unauthorized', 'Unauthorized');
}

async function answer(exchange: Exchange, parts: Parts): Promise<void> {
  const { path, method } = exchange;
  if (path === '/healthz' || path === '/livez' || path === '/readyz') return exchange.text(200, 'ok');
  if (method === 'GET') {
    const found = discover(path, exchange.accept);
    if (found !== undefined) {
      exchange.response.writeHead(200, { 'content-type': found.type });
      exchange.response.end(JSON.stringify(found.body));
      return;
    }
    const document = openapi(path);
    if (document !== undefined) {
      if (/^application\/com\.github\.proto-openapi[^,]*$/.test(exchange.accept)) {
        throw new ApiError(406, 'NotAcceptable', 'only the following media types are accepted: application/json');
      }
      return exchange.answer(200, document);
    }
    const metrics = answerMetrics(exchange, parts);
    if (metrics !== undefined) return exchange.answer(200, metrics);
  }
  if (method === 'POST' && path === '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews') {
    // Who has the token may do everything: roles are kept, and not enforced.
    return exchange.answer(201, { ...(await exchange.object()), status: { allowed: true } });
  }
  const address = addressOf(path);
  if (address === undefined) throw new ApiError(404, 'NotFound', 'the server could not find the requested resource');
  const { resource, namespace = '', name = '', subresource } = address;
  if (resource === kinds.pod && subresource === 'log' && method === 'GET')
    return await answerLog(exchange, { ...parts, namespace, name });
  if (resource === kinds.pod && subresource === 'eviction' && method === 'POST')
    return await evict(exchange, parts.store, { namespace, name });
  if (resource === kinds.pod && ['exec', 'attach', 'portforward', 'proxy'].includes(subresource ?? '')) {
    throw new ApiError(
      501,
      'NotImplemented',
      `pods/${subresource} is not simulated: reach the pod at its address (kubectl get pods -o wide)`,
    );
  }
  await parts.objects.answer(exchange, address);
}

/** Deletes a pod unless a budget says that it is needed. @throws {ApiError} 404, 429 */
async function evict(
  exchange: Exchange,
  store: Store,
  { namespace, name }: { namespace: string; name: string },
): Promise<void> {
  const pod = store.get<Pod>(kinds.pod, namespace, name);
  await exchange.body();
  const budget = store
    .list<DisruptionBudget>(kinds.budget, namespace)
    .find(({ spec }) => matches(spec?.selector, pod.metadata.labels));
  if (budget !== undefined && (budget.status?.disruptionsAllowed ?? 0) < 1) {
    throw new ApiError(429, 'TooManyRequests', "Cannot evict pod as it would violate the pod's disruption budget.", {
      causes: [
        {
          reason: 'DisruptionBudget',
          message: `The disruption budget ${budget.metadata.name} needs ${budget.status?.desiredHealthy ?? 0} healthy pods and has ${budget.status?.currentHealthy ?? 0} currently`,
          field: '',
        },
      ],
      retryAfterSeconds: 10,
    });
  }
  remove(store, kinds.pod, store.get(kinds.pod, namespace, name));
  exchange.answer(201, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' });
}
