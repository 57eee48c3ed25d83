import { connect, type Socket } from 'node:net';

/** How much of an answer is read at once, in bytes. */
const readBytes = 65_536;
/** How long a replica may take to accept a connection. */
const connectTimeoutMs = 2_000;

/** Who gets what a replica answers on a connection. */
export interface AnswerTaker {
  /** @returns whether it is done with the piece, whose bytes are others when it is called again */
  readonly takeAnswer: (piece: Buffer) => boolean;
  /** The connection has ended; nothing more comes. */
  readonly lose: () => void;
  /** More can be sent. */
  readonly replicaDrained: () => void;
}

/**
 * A connection to a replica, for one request after the other: who has it is its taker. One set of listeners serves all of them, for what is done
 * per request is what the port costs.
 */
export class ReplicaConnection {
  readonly #socket: Socket;
  #taker: AnswerTaker | undefined;
  /** What is read into: each piece of an answer is most often handed on before the next one comes, and takes no memory of its own then. */
  #room = Buffer.allocUnsafeSlow(readBytes);
  #isPaused = false;

  /** @param onEnd called when it ends while nobody has it */
  constructor(port: number, onEnd: (connection: ReplicaConnection) => void) {
    const onread = { buffer: () => this.#room, callback: (bytes: number) => this.#take(bytes) };
    const socket = connect({ host: '127.0.0.1', port, noDelay: true, onread });
    this.#socket = socket;
    socket.setTimeout(connectTimeoutMs, () => socket.destroy(new Error('it does not accept connections')));
    socket.once('connect', () => socket.setTimeout(0));
    const end = (): void => {
      if (this.#taker !== undefined) return this.#taker.lose();
      socket.destroy();
      onEnd(this);
    };
    socket.on('drain', () => this.#taker?.replicaDrained());
    socket.on('end', end);
    socket.on('close', end);
    // What follows is the event "close".
    socket.on('error', () => undefined);
  }

  get isUsable(): boolean {
    const socket = this.#socket;
    return !socket.destroyed && socket.writable && !socket.readableEnded;
  }

  /** Is given to a request. */
  give(taker: AnswerTaker): void {
    this.#taker = taker;
  }

  /** Is taken from its request, which hears no more of it. */
  free(): void {
    this.#taker = undefined;
    this.resume();
  }

  /** @returns whether more can be sent now; else its taker is told when */
  write(piece: Buffer): boolean {
    return this.#socket.write(piece);
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  /** Ends it; nobody hears of that. */
  destroy(): void {
    this.#taker = undefined;
    this.#socket.destroy();
  }

  #take(bytes: number): boolean {
    // Nobody asked for it: what it sends now belongs to no request.
    if (this.#taker === undefined) this.#socket.destroy();
    else if (!this.#taker.takeAnswer(this.#room.subarray(0, bytes))) this.#room = Buffer.allocUnsafeSlow(readBytes);
    return true;
  }
}
