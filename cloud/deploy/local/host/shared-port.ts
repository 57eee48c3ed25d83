import { once } from 'node:events';
import net, { createServer, isIPv6 } from 'node:net';
import { getSystemErrorName } from 'node:util';
import type { BoundSocket } from '../../../../shared/containers/engine.ts';
import { listenOn, portError } from './listen-on.ts';
import type { PortSettings, ServicePort } from './service-port.ts';
import type { Upstream } from './upstream.ts';

/** Of libuv's `uv_tcp_bind()`: a later host of the same service can have the port beside the replicas that have it. */
const reusePort = 2;

/** A handle of Node's own: what its `cluster` gives its workers to listen at. There is no public name for a socket that is bound and no more. */
interface BoundHandle extends BoundSocket {
  close(): void;
}

type MakeHandle = (host: string, port: number, family: 4 | 6, fd: undefined, flags: number) => BoundHandle | number;

/**
 * One socket that all replicas accept connections at, whoever has time: the kernel keeps what comes while none does, and a request costs nothing
 * here. Replicas end a connection now and then, so that load moves to those that have joined.
 */
export class SharedPort implements ServicePort {
  readonly #upstreams = new Set<Upstream>();
  #bound: { readonly handle: BoundHandle; readonly host: string; readonly port: number } | undefined;
  /** Answers are the replicas' own affair. */
  readonly answers: ReadonlyMap<number, number> = new Map();

  get socket(): BoundSocket | undefined {
    return this.#bound?.handle;
  }

  get load(): number {
    return [...this.#upstreams].reduce((sum, { outstanding }) => sum + outstanding, 0);
  }

  async become({ host, port }: PortSettings): Promise<void> {
    const before = this.#bound;
    if (before?.host === host && before.port === port) return;
    // Replicas that were taken up have it already.
    if (before !== undefined || this.#upstreams.size === 0) await checkFree({ host, port });
    this.#bound = { handle: bind({ host, port }), host, port };
    before?.handle.close();
  }

  add(upstream: Upstream): void {
    this.#upstreams.add(upstream);
  }

  /** It answers what it has by itself when it is told to end. */
  async drain(upstream: Upstream): Promise<void> {
    this.#upstreams.delete(upstream);
    upstream.isReady = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#bound?.handle.close();
  }
}

/** Others that share a port in the same way are not told by binding to it. */
async function checkFree(place: { readonly host: string; readonly port: number }): Promise<void> {
  const probe = createServer();
  await listenOn(probe, place);
  probe.close();
  await once(probe, 'close');
}

function bind(place: { readonly host: string; readonly port: number }): BoundHandle {
  const { _createServerHandle: makeHandle } = net as unknown as { readonly _createServerHandle: MakeHandle };
  const handle = makeHandle(place.host, place.port, isIPv6(place.host) ? 6 : 4, undefined, reusePort);
  if (typeof handle !== 'number') return handle;
  throw portError(place, undefined, getSystemErrorName(handle));
}
