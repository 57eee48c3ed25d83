import { type AnswerTaker, ReplicaConnection } from './replica-connection.ts';

/** Idle connections that are kept to a replica. */
const idleMax = 256;

/** A replica that requests are given to. */
export class Upstream {
  readonly name: string;
  readonly port: number;
  /** Requests that it is at. */
  outstanding = 0;
  /** Whether it gets new requests. */
  isReady = true;
  readonly #idle: ReplicaConnection[] = [];
  #onIdle: (() => void) | undefined;

  constructor(name: string, port: number) {
    this.name = name;
    this.port = port;
  }

  /** Gives a request a connection that is kept, or a new one. */
  open(taker: AnswerTaker): ReplicaConnection {
    for (let kept = this.#idle.pop(); kept !== undefined; kept = this.#idle.pop()) {
      if (kept.isUsable) {
        kept.give(taker);
        return kept;
      }
      kept.destroy();
    }
    const connection = new ReplicaConnection(this.port, (ended) => this.#forget(ended));
    connection.give(taker);
    return connection;
  }

  /** Takes a connection back that can be used again. */
  keep(connection: ReplicaConnection): void {
    if (!this.isReady || this.#idle.length >= idleMax || !connection.isUsable) connection.destroy();
    else {
      connection.free();
      this.#idle.push(connection);
    }
  }

  /** Is told that a request is done. */
  release(): void {
    this.outstanding -= 1;
    if (this.outstanding === 0) this.#onIdle?.();
  }

  /** Gives it no new requests, and waits until it has answered those that it has. */
  async drain(): Promise<void> {
    this.isReady = false;
    for (const connection of this.#idle.splice(0)) connection.destroy();
    if (this.outstanding === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    await promise;
  }

  #forget(connection: ReplicaConnection): void {
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }
}
