import type { Json, Service } from '../objects.ts';
import { kinds } from '../resources.ts';
import { cause, type Cause } from '../status.ts';
import type { Store } from '../store.ts';

const nodePorts = { first: 30_000, last: 32_767 } as const;

/**
 * Gives a service the addresses and ports that it needs and does not have; what it had before stays.
 *
 * All addresses are of this machine's loopback network, on which each service really listens.
 * @returns what it asks for and cannot have
 */
export function allocate(store: Store, service: Service, before: Service | undefined): Cause[] {
  const { spec } = service;
  const type = spec.type ?? 'ClusterIP';
  const others = store.list<Service>(kinds.service).filter(({ metadata }) => metadata.uid !== service.metadata.uid);
  if (type === 'ExternalName') return [];
  const taken = new Set(others.map((other) => other.spec.clusterIP));
  const wanted = spec.clusterIP ?? before?.spec.clusterIP;
  if (wanted !== undefined && wanted !== 'None' && wanted !== before?.spec.clusterIP && !isFree(wanted, taken)) {
    return [
      cause.invalid(
        'spec.clusterIPs',
        [wanted],
        'failed to allocate IP: the provided IP is not in the range 127.96.0.0/16, or is taken',
      ),
    ];
  }
  spec.clusterIP = wanted ?? freeAddress(taken);
  spec.clusterIPs = [spec.clusterIP];
  if (type === 'ClusterIP') return [];
  return allocateNodePorts(others, spec.ports ?? [], before);
}

/** Takes away what a service had been given and no longer may have; what its owner has written stays, to be refused. */
export function releaseAllocated(next: Json, before: Service): void {
  const spec = next['spec'] as Service['spec'] | undefined;
  if (spec === undefined || (spec.type ?? 'ClusterIP') !== 'ClusterIP' || before.spec.type === 'ClusterIP') return;
  for (const port of spec.ports ?? []) delete port.nodePort;
  delete spec.externalTrafficPolicy;
  delete spec.allocateLoadBalancerNodePorts;
}

function allocateNodePorts(
  others: readonly Service[],
  ports: NonNullable<Service['spec']['ports']>,
  before: Service | undefined,
): Cause[] {
  const taken = new Set(others.flatMap((other) => (other.spec.ports ?? []).flatMap(({ nodePort }) => nodePort ?? [])));
  const causes: Cause[] = [];
  for (const [index, port] of ports.entries()) {
    const wanted = port.nodePort ?? before?.spec.ports?.find((other) => other.port === port.port)?.nodePort;
    if (wanted !== undefined && taken.has(wanted)) {
      causes.push(cause.invalid(`spec.ports[${index}].nodePort`, wanted, 'provided port is already allocated'));
    }
    port.nodePort = wanted ?? freePort(taken);
    taken.add(port.nodePort);
  }
  return causes;
}

function freePort(taken: ReadonlySet<number>): number {
  const count = nodePorts.last - nodePorts.first + 1;
  // From a random place on, as a cluster does: two clusters on one machine seldom want the same.
  const start = Math.floor(Math.random() * count);
  for (let step = 0; step < count; step += 1) {
    const port = nodePorts.first + ((start + step) % count);
    if (!taken.has(port)) return port;
  }
  throw new Error('no node port is free');
}

function freeAddress(taken: ReadonlySet<string | undefined>): string {
  const start = Math.floor(Math.random() * 0xff_00);
  for (let step = 0; step < 0xff_00; step += 1) {
    const number = ((start + step) % 0xff_00) + 10;
    const address = `127.96.${number >> 8}.${number & 0xff}`;
    if (!taken.has(address)) return address;
  }
  throw new Error('no address is free');
}

function isFree(address: string, taken: ReadonlySet<string | undefined>): boolean {
  return /^127\.96\.\d{1,3}\.\d{1,3}$/.test(address) && !taken.has(address);
}
