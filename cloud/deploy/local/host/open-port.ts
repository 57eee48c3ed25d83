import type { HostDesired } from '../host-state.ts';
import { Balancer } from './balancer.ts';
import type { ServicePort } from './service-port.ts';
import { SharedPort } from './shared-port.ts';

/** Makes the port that a service is wanted to have; it is not open yet. */
export function openPort(desired: HostDesired): ServicePort {
  return desired.replica.listensAt === undefined ? new Balancer(desired) : new SharedPort();
}
