import type { ISubscribePacket, IUnsubscribePacket } from 'mqtt-packet';
import { type Address, addressKey } from '../identity/identity.ts';
import type { Session, Sessions } from './sessions.ts';
import { type Subscription, readFilter } from './topics.ts';

/** A device has five topics to subscribe to; a client cannot have more. */
const subscriptionsMax = 5;
/** [MQTT-3.9.3-2] What a filter that is not allowed is answered with. */
const failure = 0x80;

/**
 * What a connected client has subscribed to.
 *
 * Invariant: what is granted is in the kept session before the client hears of it, unless it wanted a clean one.
 */
export class Subscriptions {
  readonly #address: Address;
  readonly #session: Session;
  readonly #keep: () => void;

  constructor(options: {
    readonly address: Address;
    readonly session: Session;
    readonly clean: boolean;
    readonly sessions: Sessions;
  }) {
    const { address, session, clean, sessions } = options;
    this.#address = address;
    this.#session = session;
    this.#keep = clean ? () => undefined : () => sessions.keep(addressKey(address), session);
  }

  has(subscription: Subscription): boolean {
    return this.#session.has(subscription);
  }

  /** Gives the quality of service that was granted; `undefined` without the subscription. */
  qosOf(subscription: Subscription): 0 | 1 | undefined {
    return this.#session.get(subscription);
  }

  /** Adds what is asked for, as far as the hub allows it; gives the answer to each filter. */
  add({ subscriptions }: ISubscribePacket): number[] {
    const granted = subscriptions.map(({ topic, qos }) => {
      const subscription = readFilter(topic, this.#address);
      if (subscription === undefined) return failure;
      if (this.#session.size >= subscriptionsMax && !this.has(subscription)) return failure;
      // Quality of service 2 is not offered.
      const grantedQos = qos === 0 ? 0 : 1;
      this.#session.set(subscription, grantedQos);
      return grantedQos;
    });
    this.#keep();
    return granted;
  }

  remove({ unsubscriptions }: IUnsubscribePacket): void {
    for (const topic of unsubscriptions) {
      const subscription = readFilter(topic, this.#address);
      if (subscription !== undefined) this.#session.delete(subscription);
    }
    this.#keep();
  }
}
