import type { Socket } from 'node:net';
import type { RequestLimits } from '../settings.ts';
import { answerHead, violationAnswer } from './answer-head.ts';
import { Exchange } from './exchange.ts';
import { RepeatedHead } from './repeated-head.ts';
import { RequestBody } from './request-body.ts';
import { headBytesMax, invalid, parseHead, type RequestHead, tooManyHeaders, type Violation } from './request-head.ts';

/** What happens on a connection. */
export interface ConnectionEvents {
  /** A request has come; its body may be still on its way. */
  readonly onRequest: (exchange: Exchange) => void;
  /** Its answer has left, or its client has. */
  readonly onEnd: (exchange: Exchange) => void;
  readonly onClose: () => void;
}

/** Bytes behind a request that is being answered, from which on no more are read. */
const aheadBytesMax = 64 * 1024;

/** So much of a body that nobody wants is passed over for the next request; where it is more, the connection ends. */
const passedOverBytesMax = 256 * 1024;

/** How long a connection whose last answer has left is kept for a client that still sends: closing at once would take the answer from it. */
const lingerMs = 1000;

/** Who takes an answer more slowly than this does not take it: 16 KiB a second. */
const slowestBytesPerMs = 16;

const empty = Buffer.alloc(0);
const carriageReturn = 13;
const lineFeed = 10;

/** What a connection waits for. */
type Phase = 'answer' | 'body' | 'closing' | 'flush' | 'head' | 'idle';

/**
 * HTTP/1.1 on one connection: requests one after the other, each answered before the next is begun.
 *
 * Invariants:
 * - what was not consumed of the bytes that came is bounded, and nothing is consumed twice;
 * - each exchange that was begun is ended exactly once;
 * - every phase but the model's own has a limit of time, which {@link expire} holds.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #limits: RequestLimits;
  readonly #events: ConnectionEvents;
  readonly #keepAliveField: string;
  #phase: Phase = 'head';
  #phaseAtMs = performance.now();
  /** When the last bytes came. */
  #cameAtMs = this.#phaseAtMs;
  /** Bytes that came, of which those before `#at` are consumed. */
  #input: Buffer = empty;
  #at = 0;
  /** Up to here no head ends. */
  #searched = 0;
  #exchange: Exchange | undefined;
  #isAdvancing = false;
  #answerBytes = 0;
  #isFlushed = false;
  #isContinued = false;
  #isLast = false;
  readonly #isLastRequest: () => boolean;
  readonly #repeated = new RepeatedHead();

  /** @param isLast asked at each request, whether it is the last one */
  constructor(
    socket: Socket,
    { limits, events, isLast }: { limits: RequestLimits; events: ConnectionEvents; isLast: () => boolean },
  ) {
    this.#socket = socket;
    this.#limits = limits;
    this.#events = events;
    this.#isLastRequest = isLast;
    this.#keepAliveField = `connection: keep-alive\r\nkeep-alive: timeout=${Math.floor(limits.keepAliveTimeoutMs / 1000)}\r\n`;
    socket.on('data', (piece: Buffer) => this.#onData(piece));
    socket.on('end', () => this.#leave());
    // What follows is the event "close".
    socket.on('error', () => undefined);
    socket.on('close', () => this.#onClose());
  }

  /** Ends what takes longer than it may. */
  expire(nowMs: number): void {
    const { headersTimeoutMs, requestTimeoutMs, keepAliveTimeoutMs } = this.#limits;
    const inPhaseMs = nowMs - this.#phaseAtMs;
    const isIn = this.#phase;
    if (isIn === 'closing' && inPhaseMs > lingerMs) this.destroy();
    else if (isIn === 'idle' && inPhaseMs > keepAliveTimeoutMs) this.destroy();
    // Who takes no answer, or says nothing at all, is not told more.
    else if (isIn === 'flush' && inPhaseMs > requestTimeoutMs + this.#answerBytes / slowestBytesPerMs) this.destroy();
    else if (isIn === 'head' && this.#input.byteLength === 0 && inPhaseMs > headersTimeoutMs) this.destroy();
    else if (isIn === 'head' && inPhaseMs > headersTimeoutMs) this.#refuse(tooSlow('headers'));
    else if (isIn === 'body' && inPhaseMs > requestTimeoutMs) this.#refuse(tooSlow('body'));
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #onData(piece: Buffer): void {
    if (this.#phase === 'closing') return;
    this.#cameAtMs = performance.now();
    const left = this.#input.byteLength - this.#at;
    this.#input = left === 0 ? piece : Buffer.concat([this.#input.subarray(this.#at), piece]);
    this.#searched -= left === 0 ? this.#searched : this.#at;
    this.#at = 0;
    if (this.#phase === 'idle') this.#enter('head', this.#cameAtMs);
    this.#advance();
  }

  /** Goes as far as the bytes and the answers that are there allow. */
  #advance(): void {
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    while (this.#phase === 'body' ? this.#takeBody() : this.#phase === 'head' && this.#takeHead());
    this.#isAdvancing = false;
    if (this.#at === this.#input.byteLength) {
      this.#input = empty;
      this.#at = 0;
    }
    const ahead = this.#input.byteLength - this.#at;
    if (ahead > aheadBytesMax) this.#socket.pause();
    else if (this.#socket.isPaused()) this.#socket.resume();
  }

  /** @returns whether there may be more to do */
  #takeHead(): boolean {
    const input = this.#input;
    // RFC 9112, 2.2: an empty line before a request does no harm.
    while (input[this.#at] === carriageReturn && input[this.#at + 1] === lineFeed) this.#at += 2;
    const head = this.#readHead(input);
    if (head === undefined) return false;
    this.#searched = 0;
    const body = new RequestBody(head.bodyBytes, this.#onBodyWanted);
    const exchange = new Exchange(head, { body, startMs: this.#cameAtMs, send: this.#send });
    if (this.#isLastRequest() || !head.keepsAlive) exchange.closeAfter();
    this.#exchange = exchange;
    this.#isContinued = !head.expectsContinue;
    this.#isFlushed = false;
    // Its time began with its first byte.
    this.#phase = body.isComplete ? 'answer' : 'body';
    this.#events.onRequest(exchange);
    return true;
  }

  /** Reads a head and passes it; undefined where it has not come, or is none and was refused. */
  #readHead(input: Buffer): RequestHead | undefined {
    const start = this.#at;
    const repeated = this.#repeated.at(input, start);
    if (repeated !== undefined) {
      this.#at += repeated.bytes;
      return repeated.head;
    }
    const end = headEnd(input, Math.max(start, this.#searched - 3));
    const bytes = (end === -1 ? input.byteLength : end) - start;
    if (bytes > headBytesMax) this.#refuse(tooManyHeaders());
    else if (end === -1) {
      this.#searched = input.byteLength;
      if (isHopeless(input, start)) this.#refuse(invalid('lines that end in CR LF were wanted'));
    } else {
      const head = parseHead(input, start, end + 2);
      if (!('status' in head)) {
        this.#at = end + 4;
        this.#repeated.keep(head, input, { start, end: this.#at });
        return head;
      }
      this.#refuse(head);
    }
    return undefined;
  }

  /** @returns whether there may be more to do */
  #takeBody(): boolean {
    const { body } = this.#exchange ?? {};
    if (body === undefined || !body.isTaken || this.#at === this.#input.byteLength) return false;
    this.#at = body.push(this.#input, this.#at);
    if (body.violation !== undefined) return this.#refuse(body.violation);
    if (!body.isComplete) return false;
    // Where it is answered already, its answer is on its way.
    if (this.#exchange?.isAnswered === true) this.#enter('flush', this.#cameAtMs);
    else this.#phase = 'answer';
    this.#finish();
    return true;
  }

  readonly #onBodyWanted = (): void => {
    if (!this.#isContinued && this.#at === this.#input.byteLength) this.#socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    this.#isContinued = true;
    this.#advance();
  };

  readonly #send = (status: number, fields: string, content: string | Uint8Array): void => {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    const { body, request } = exchange;
    // A client that was not told to send its body may do so or not: what comes next could be either.
    const isLast = exchange.closesAfter || body.bytesLeft > passedOverBytesMax || !this.#isContinued;
    this.#isLast = isLast;
    const bytes = typeof content === 'string' ? content.length : content.byteLength;
    this.#answerBytes = bytes;
    const head = answerHead(status, { fields: fields + (isLast ? closeField : this.#keepAliveField), bytes });
    const hasContent = request.method !== 'HEAD' && status !== 204 && status !== 304;
    if (!hasContent || bytes === 0) this.#write(head);
    else if (typeof content === 'string') this.#write(head + content);
    else {
      this.#socket.cork();
      this.#socket.write(head, 'latin1');
      this.#socket.write(content, this.#onFlushed);
      this.#socket.uncork();
    }
    if (body.isComplete) this.#enter('flush', performance.now());
    else body.discard();
  };

  /** Writes the last of an answer. What the system took at once, as it mostly does, needs no turn of the event loop to be known. */
  #write(text: string): void {
    const socket = this.#socket;
    socket.write(text, 'latin1');
    if (socket.writableLength > 0 || socket.errored !== null || socket.destroyed) socket.write('', this.#onFlushed);
    else queueMicrotask(this.#onFlushed);
  }

  readonly #onFlushed = (error?: Error | null): void => {
    // What could not be written is told by the event "close".
    if (error !== undefined && error !== null) return;
    this.#isFlushed = true;
    this.#finish();
    this.#advance();
  };

  /** Ends the exchange when its answer has left and its request is read, or never will be. */
  #finish(): void {
    const exchange = this.#exchange;
    if (exchange === undefined || !this.#isFlushed || !(this.#isLast || exchange.body.isComplete)) return;
    this.#exchange = undefined;
    this.#events.onEnd(exchange);
    if (this.#isLast) this.#close();
    else {
      // What came ahead of its turn begins now.
      this.#cameAtMs = performance.now();
      this.#enter(this.#at === this.#input.byteLength ? 'idle' : 'head', this.#cameAtMs);
    }
  }

  /** Tells what is wrong, and ends. @returns that there is nothing more to do */
  #refuse(violation: Violation): false {
    const exchange = this.#exchange;
    if (exchange?.isAnswered !== true && !this.#socket.destroyed) {
      this.#socket.write(violationAnswer(violation), 'latin1');
    }
    this.#leave();
    this.#close();
    return false;
  }

  /** Ends the connection, but reads on for a moment what is on its way. */
  #close(): void {
    this.#enter('closing', performance.now());
    this.#input = empty;
    this.#at = 0;
    this.#socket.end();
    this.#socket.resume();
  }

  /** The client has gone, or is told to. */
  #leave(): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    if (!exchange.isAnswered) exchange.leave();
    exchange.body.cut();
  }

  #onClose(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#phase = 'closing';
    if (exchange !== undefined) {
      if (!this.#isFlushed) exchange.leave();
      exchange.body.cut();
      this.#events.onEnd(exchange);
    }
    this.#events.onClose();
  }

  #enter(phase: Phase, atMs: number): void {
    this.#phase = phase;
    this.#phaseAtMs = atMs;
  }
}

const closeField = 'connection: close\r\n';

function tooSlow(what: string): Violation {
  return { status: 408, message: `Cannot read the request: its ${what} came too slowly` };
}

/** Finds the empty line behind a head; -1 where it has not come. A loop over bytes: heads are short, and a call into Node costs more. */
function headEnd(input: Buffer, from: number): number {
  for (let at = from + 3; at < input.length; at += 1) {
    if (input[at] !== lineFeed) continue;
    if (input[at - 1] === carriageReturn && input[at - 2] === lineFeed && input[at - 3] === carriageReturn)
      return at - 3;
  }
  return -1;
}

/** Says whether what came so far cannot become a head: another protocol, or lines that end otherwise. */
function isHopeless(input: Buffer, start: number): boolean {
  const first = input[start];
  if (first !== undefined && first !== carriageReturn && (first <= 32 || first >= 127)) return true;
  const feedAt = input.indexOf(lineFeed, start);
  return feedAt !== -1 && input[feedAt - 1] !== carriageReturn;
}
