import { EventEmitter } from 'node:events';
import type { Clock } from '../../../shared/clock.ts';
import { timeOf } from '../time.ts';
import { type Address, addressKey, never } from './identity.ts';

/** Who is connected, and since when. */
export interface PresenceState {
  readonly connectionState: 'Connected' | 'Disconnected';
  readonly connectionStateUpdatedTime: string;
  readonly lastActivityTime: string;
}

const absent: PresenceState = {
  connectionState: 'Disconnected',
  connectionStateUpdatedTime: never,
  lastActivityTime: never,
};

/** Keeps who is connected. In memory: after a restart of the hub nobody is. */
export class Presence {
  readonly events = new EventEmitter<{ readonly connected: [address: Address] }>();
  readonly #states = new Map<string, PresenceState>();
  readonly #clock: Clock;
  /** How many devices are connected; modules do not count. */
  connectedDevices = 0;

  constructor(options: { readonly clock: Clock }) {
    this.#clock = options.clock;
  }

  of(address: Address): PresenceState {
    return this.#states.get(addressKey(address)) ?? absent;
  }

  set(address: Address, connectionState: PresenceState['connectionState']): void {
    const before = this.of(address);
    const now = timeOf(this.#clock.nowMs());
    if (before.connectionState !== connectionState && address.moduleId === undefined) {
      this.connectedDevices += connectionState === 'Connected' ? 1 : -1;
    }
    this.#states.set(addressKey(address), {
      connectionState,
      connectionStateUpdatedTime: before.connectionState === connectionState ? before.connectionStateUpdatedTime : now,
      lastActivityTime: now,
    });
    if (connectionState === 'Connected') this.events.emit('connected', address);
  }

  /** Notes that something came from a device or module. */
  touch(address: Address): void {
    this.#states.set(addressKey(address), { ...this.of(address), lastActivityTime: timeOf(this.#clock.nowMs()) });
  }

  forget(address: Address): void {
    if (address.moduleId === undefined && this.of(address).connectionState === 'Connected') this.connectedDevices -= 1;
    this.#states.delete(addressKey(address));
  }
}
