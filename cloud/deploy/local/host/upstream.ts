import { connect, type Socket } from 'node:net';

/** Idle connections that are kept to a replica. */
const idleMax = 256;
/** How long a replica may take to accept a connection. */
const connectTimeoutMs = 2_000;

/** A replica that requests are given to. */
export class Upstream {
  readonly name: string;
  readonly port: number;
  /** Requests that it is at. */
  outstanding = 0;
  /** Whether it gets new requests. */
  isReady = true;
  readonly #idle: Socket[] = [];
  #onIdle: (() => void) | undefined;

  constructor(name: string, port: number) {
    this.name = name;
    this.port = port;
  }

  /** Gives a connection that is kept, or a new one. */
  open(): Socket {
    for (let socket = this.#idle.pop(); socket !== undefined; socket = this.#idle.pop()) {
      socket.removeAllListeners();
      if (!socket.destroyed && socket.writable && !socket.readableEnded) return socket;
      socket.destroy();
    }
    return this.#connect();
  }

  /** Gives a connection back that can be used again. */
  keep(socket: Socket): void {
    socket.removeAllListeners();
    if (!this.isReady || this.#idle.length >= idleMax || socket.destroyed || !socket.writable) {
      socket.destroy();
      return;
    }
    const drop = (): void => {
      const at = this.#idle.indexOf(socket);
      if (at >= 0) this.#idle.splice(at, 1);
      socket.destroy();
    };
    // Nobody asked for it: what it sends now belongs to no request.
    socket.on('data', drop).on('end', drop).on('error', drop).on('close', drop);
    socket.resume();
    this.#idle.push(socket);
  }

  /** Is told that a request is done. */
  release(): void {
    this.outstanding -= 1;
    if (this.outstanding === 0) this.#onIdle?.();
  }

  /** Gives it no new requests, and waits until it has answered those that it has. */
  async drain(): Promise<void> {
    this.isReady = false;
    for (const socket of this.#idle.splice(0)) socket.destroy();
    if (this.outstanding === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    await promise;
  }

  #connect(): Socket {
    const socket = connect({ host: '127.0.0.1', port: this.port, noDelay: true });
    socket.setTimeout(connectTimeoutMs, () => socket.destroy(new Error('it does not accept connections')));
    socket.once('connect', () => socket.setTimeout(0));
    return socket;
  }
}
