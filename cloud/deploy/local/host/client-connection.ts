import type { Socket } from 'node:net';
import { answerText } from './answer-text.ts';
import { Exchange } from './exchange.ts';
import { readRequestHead } from './message-head.ts';
import type { RequestQueue } from './request-queue.ts';

/** Largest head of a request, in bytes; Node's own servers take 16 KiB. */
const headBytesMax = 65_536;
/** Bytes of further requests that are read while one is being answered. */
const aheadBytesMax = 65_536;
/** How long a client may take to send a head, in milliseconds. */
const headTimeoutMs = 10_000;
/** How long a connection is kept without a request: longer than load balancers reuse one (Azure's: four minutes). */
const idleTimeoutMs = 245_000;

const headEnd = '\r\n\r\n';
const empty = Buffer.alloc(0);

/** What connections need of the balancer. */
export interface ConnectionContext {
  readonly queue: RequestQueue;
  /** Longest time from a request's head to its whole answer, in milliseconds. */
  readonly exchangeTimeoutMs: () => number;
  /** Told how each request ended. */
  readonly onAnswer: (status: number) => void;
}

/** A connection of a client: its requests, one after the other, each of which may go to another replica. */
export class ClientConnection {
  readonly #socket: Socket;
  readonly #context: ConnectionContext;
  #pending: Buffer = empty;
  #exchange: Exchange | undefined;
  #sinceMs = performance.now();
  #isEnding = false;
  /** Whether the client sends no more; it still reads. */
  #hasEnded = false;

  constructor(socket: Socket, context: ConnectionContext) {
    this.#socket = socket;
    this.#context = context;
    socket.on('data', (piece: Buffer) => this.#take(piece));
    socket.on('end', () => {
      this.#hasEnded = true;
      if (this.#exchange === undefined) socket.end();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#exchange?.abandon());
    socket.on('drain', () => this.#exchange?.clientDrained());
  }

  /** Whether it is at no request. */
  get isIdle(): boolean {
    return this.#exchange === undefined && this.#pending.byteLength === 0;
  }

  /** Ends what takes too long; to be called now and then. */
  sweep(nowMs: number): void {
    const passedMs = nowMs - this.#sinceMs;
    if (this.#exchange !== undefined) {
      if (passedMs > this.#context.exchangeTimeoutMs()) this.#exchange.timeOut();
    } else if (this.#pending.byteLength > 0) {
      if (passedMs > headTimeoutMs) this.#refuse(408, 'its head did not come in time');
    } else if (passedMs > idleTimeoutMs) this.#socket.destroy();
  }

  /** Ends it when it is done with what it is at. */
  end(): void {
    this.#isEnding = true;
    if (this.isIdle) this.#socket.end();
  }

  #take(piece: Buffer): void {
    let rest = piece;
    if (this.#exchange !== undefined) rest = piece.subarray(this.#exchange.takeBody(piece));
    if (rest.byteLength === 0) return;
    if (this.#pending.byteLength === 0)
      this.#sinceMs = this.#exchange === undefined ? performance.now() : this.#sinceMs;
    this.#pending = this.#pending.byteLength === 0 ? rest : Buffer.concat([this.#pending, rest]);
    if (this.#exchange === undefined) this.#next();
    else if (this.#pending.byteLength > aheadBytesMax) this.#socket.pause();
  }

  /** Begins with the next request, when its head is there. */
  #next(): void {
    // Clients may send empty lines between requests (RFC 9112, 2.2).
    let from = 0;
    while (this.#pending[from] === 0x0d && this.#pending[from + 1] === 0x0a) from += 2;
    if (from > 0) this.#pending = this.#pending.subarray(from);
    const at = this.#pending.indexOf(headEnd);
    if (at < 0) {
      if (this.#pending.byteLength > headBytesMax) this.#refuse(431, `its head has more than ${headBytesMax} bytes`);
      return;
    }
    const bodyAt = at + headEnd.length;
    const head = readRequestHead(this.#pending.toString('latin1', 0, bodyAt));
    if ('refused' in head) {
      this.#refuse(head.refused, head.because);
      return;
    }
    const { queue, onAnswer } = this.#context;
    this.#sinceMs = performance.now();
    const exchange = new Exchange({
      head,
      client: this.#socket,
      queue,
      onDone: (status, mayGoOn) => {
        onAnswer(status);
        this.#exchange = undefined;
        this.#sinceMs = performance.now();
        if (!mayGoOn || head.closes || this.#isEnding) this.#socket.end();
        else if (this.#pending.byteLength > 0) this.#next();
        if (this.#hasEnded && this.#exchange === undefined) this.#socket.end();
        if (!this.#socket.destroyed && this.#socket.isPaused()) this.#socket.resume();
      },
    });
    this.#exchange = exchange;
    const received = this.#pending;
    const taken = exchange.begin(received, bodyAt);
    this.#pending = taken === received.byteLength ? empty : received.subarray(taken);
    exchange.send();
  }

  #refuse(status: number, because: string): void {
    this.#context.onAnswer(status);
    this.#pending = empty;
    this.#socket.end(answerText(status, `Cannot take the request: ${because}`, { closes: true }));
  }
}
