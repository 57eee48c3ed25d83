import type { BoundSocket } from '../../../../shared/containers/engine.ts';
import type { HostDesired } from '../host-state.ts';
import type { Upstream } from './upstream.ts';

/** What a port is to be: where callers come in, and what replicas are given. */
export type PortSettings = Pick<
  HostDesired,
  'host' | 'port' | 'tls' | 'concurrentMax' | 'queueWaitMs' | 'scoringTimeoutMs'
>;

/** The port of a service: the way from its callers to its replicas. Two ship: one hands on requests, one connections. */
export interface ServicePort extends AsyncDisposable {
  /** What replicas are started with, to accept connections themselves. @default they have ports of their own alone */
  readonly socket: BoundSocket | undefined;
  /** Requests that replicas are at, and those that wait. */
  readonly load: number;
  /** Answers by their status, as far as they went through here. */
  readonly answers: ReadonlyMap<number, number>;
  /**
   * Is what is wanted from now on; what has changed takes the place of what was.
   * @throws {FerryError} PORT_IN_USE or PORT_UNUSABLE
   */
  become(wanted: PortSettings): Promise<void>;
  /** Takes a replica that is ready. */
  add(upstream: Upstream): void;
  /** Gives a replica no new requests, and waits until it may be told to end. */
  drain(upstream: Upstream): Promise<void>;
}
