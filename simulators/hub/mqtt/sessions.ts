import type { Store } from '../store.ts';
import type { Subscription } from './topics.ts';

/** What a client has subscribed to, and with which quality of service. */
export type Session = Map<Subscription, 0 | 1>;

/**
 * The sessions of clients that connect with CleanSession=0: their subscriptions outlive their connections. The SDK counts on it:
 * after its first token renewal it subscribes to nothing again.
 */
export class Sessions {
  readonly #kept = new Map<string, Session>();
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
    for (const [key, subscriptions] of store.read<readonly (readonly [Subscription, 0 | 1])[]>('session')) {
      this.#kept.set(key, new Map(subscriptions));
    }
  }

  /** Opens the session of a client: an empty one if it wants a clean one or has none. */
  open(key: string, clean: boolean): { readonly session: Session; readonly isPresent: boolean } {
    const kept = clean ? undefined : this.#kept.get(key);
    if (clean) this.forget(key);
    return { session: kept ?? new Map(), isPresent: kept !== undefined };
  }

  /** Keeps a session as it is now. */
  keep(key: string, session: Session): void {
    this.#kept.set(key, session);
    this.#store.put('session', key, [...session]);
  }

  forget(key: string): void {
    if (this.#kept.delete(key)) this.#store.remove('session', key);
  }
}
