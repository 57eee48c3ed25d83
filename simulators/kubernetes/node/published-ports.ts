import type { Container } from '../objects.ts';

/** Ports as a container engine is told of them: what is open, and where on this machine. */
interface PublishedPorts {
  readonly exposed: Record<string, Record<string, never>>;
  readonly bindings: Record<string, { HostIp: string; HostPort: string }[]>;
}

/** Gives the declared TCP ports of containers, at the address of their pod. */
export function publishedPorts(containers: readonly Container[], podIp: string): PublishedPorts {
  const ports = containers
    .flatMap((container) => container.ports ?? [])
    .filter(({ protocol }) => (protocol ?? 'TCP') === 'TCP')
    .map(({ containerPort }) => containerPort);
  return {
    exposed: Object.fromEntries(ports.map((port) => [`${port}/tcp`, {}])),
    bindings: Object.fromEntries(ports.map((port) => [`${port}/tcp`, [{ HostIp: podIp, HostPort: String(port) }]])),
  };
}
