import { randomInt } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { systemCodeOf } from '../../../shared/errors.ts';
import type { ClusterState } from '../cluster-state.ts';
import { takesRequests, targetsOf } from '../controllers/endpoints.ts';
import { isSame, type Service } from '../objects.ts';
import { kinds } from '../resources.ts';

/** Where one port of a service is listened for. */
interface Place {
  readonly host: string;
  readonly port: number;
  /** The port of the service. */
  readonly of: number;
}

/** How long a pod may take to accept a connection, in milliseconds. */
const connectTimeoutMs = 5_000;

/** Addresses that load balancers may have, of 127.97.0.0/16. */
const balancerAddresses = 254 * 256;

/**
 * Spreads the connections to services over their pods, one connection a pod in turn, as kube-proxy does: on the service's cluster address, on
 * each node port of 127.0.0.1, and on a load balancer's own address. A connection that no pod is ready for is cut.
 */
export class ServiceProxy implements AsyncDisposable {
  readonly #state: ClusterState;
  readonly #listening = new Map<string, Server>();
  readonly #sockets = new Set<Socket>();
  readonly #turns = new Map<string, number>();
  readonly #addresses = new Map<string, string>();

  /** From a random place on: two clusters on one machine seldom want the same. */
  readonly #firstBalancer = randomInt(balancerAddresses);

  constructor(state: ClusterState) {
    this.#state = state;
  }

  /** Listens where services are, and no longer where they were. */
  sync(): void {
    const wanted = new Map<string, { service: Service; place: Place }>();
    for (const service of this.#state.store.list<Service>(kinds.service)) {
      for (const place of this.#placesOf(service)) wanted.set(`${place.host}:${place.port}`, { service, place });
    }
    for (const [key, server] of this.#listening) {
      if (wanted.has(key)) continue;
      server.close();
      this.#listening.delete(key);
    }
    for (const [key, { service, place }] of wanted) if (!this.#listening.has(key)) this.#listen(key, service, place);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([...this.#listening.values()].map((server) => new Promise((resolve) => server.close(resolve))));
  }

  #placesOf(service: Service): Place[] {
    const { clusterIP, type, ports = [] } = service.spec;
    return ports
      .filter(({ protocol }) => (protocol ?? 'TCP') === 'TCP')
      .flatMap(({ port, nodePort }) => [
        ...(clusterIP === undefined || clusterIP === 'None' ? [] : [{ host: clusterIP, port, of: port }]),
        ...(nodePort === undefined ? [] : [{ host: '127.0.0.1', port: nodePort, of: port }]),
        ...(type === 'LoadBalancer' ? [{ host: this.#balancerAddress(service), port, of: port }] : []),
      ]);
  }

  /** Its status says it once it listens there. */
  #balancerAddress({ metadata: { uid } }: Service): string {
    const before = this.#addresses.get(uid);
    if (before !== undefined) return before;
    const number = (this.#firstBalancer + this.#addresses.size) % balancerAddresses;
    const address = `127.97.${Math.floor(number / 254)}.${(number % 254) + 1}`;
    this.#addresses.set(uid, address);
    return address;
  }

  #listen(key: string, service: Service, place: Place): void {
    const { namespace, name } = service.metadata;
    const server = createServer({ pauseOnConnect: true }, (socket) =>
      this.#forward(socket, { namespace, name, port: place.of }),
    );
    this.#listening.set(key, server);
    server.on('error', (error) => {
      // Kept, so that it is not tried again at each change; the service says why it does not listen there.
      const code = systemCodeOf(error) ?? error.message;
      const message = `cannot listen on ${place.host}:${place.port}: ${code}`;
      this.#state.event(service, {
        type: 'Warning',
        reason: 'SyncLoadBalancerFailed',
        message,
        component: 'service-controller',
      });
    });
    server.listen(place.port, place.host, () => {
      if (service.spec.type !== 'LoadBalancer' || place.host !== this.#addresses.get(service.metadata.uid)) return;
      const loadBalancer = { ingress: [{ ip: place.host, ipMode: 'VIP' }] };
      const now = this.#state.store.find<Service>(kinds.service, namespace, name);
      if (now === undefined || isSame(now.status?.loadBalancer, loadBalancer)) return;
      this.#state.setStatus(kinds.service, now, { ...now.status, loadBalancer }, 'cloud-controller-manager');
      this.#state.event(now, {
        reason: 'EnsuredLoadBalancer',
        message: 'Ensured load balancer',
        component: 'service-controller',
      });
    });
  }

  #forward(socket: Socket, of: { namespace: string | undefined; name: string; port: number }): void {
    this.#keep(socket);
    const service = this.#state.store.find<Service>(kinds.service, of.namespace, of.name);
    const port = service?.spec.ports?.find((one) => one.port === of.port);
    const ready =
      service === undefined || port === undefined
        ? []
        : targetsOf(this.#state, service, port).filter(({ pod }) => takesRequests(pod));
    const key = `${of.namespace}/${of.name}:${of.port}`;
    const turn = this.#turns.get(key) ?? 0;
    this.#turns.set(key, turn + 1);
    const target = ready[turn % Math.max(1, ready.length)];
    if (target === undefined) {
      socket.resetAndDestroy();
      return;
    }
    const upstream = connect({ host: target.address, port: target.port, noDelay: true });
    this.#keep(upstream);
    socket.setNoDelay(true);
    const limit = setTimeout(() => upstream.destroy(), connectTimeoutMs);
    upstream.once('connect', () => {
      clearTimeout(limit);
      socket.pipe(upstream).pipe(socket);
    });
    upstream.once('close', () => {
      clearTimeout(limit);
      socket.destroy();
    });
    socket.once('close', () => upstream.destroy());
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    // A peer that goes away is no failure of the proxy; the other side is closed with it.
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
