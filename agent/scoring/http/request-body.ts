import { FerryError } from '../../../shared/errors.ts';
import type { ByteBudget } from '../byte-budget.ts';
import { BodyRoom, type BodyRooms } from './body-rooms.ts';
import { ChunkedBody } from './chunked-body.ts';
import type { Exchange } from './exchange.ts';
import type { Violation } from './request-head.ts';

/** How many bytes a request may have, and all of them together. */
export interface BodyLimits {
  readonly bodyBytesMax: number;
  readonly budget: ByteBudget;
  readonly rooms: BodyRooms;
}

/** Whoever wants a body. */
interface BodySink {
  onContent(content: Buffer): void;
  onEnd(): void;
  onGone(error: FerryError): void;
}

/** The body of a request on its way from the connection to whoever wants it. Nothing of it is taken before somebody does. */
export class RequestBody {
  /** The length that the client says. */
  readonly bytesSaid: number | 'chunked';
  readonly #chunked: ChunkedBody | undefined;
  readonly #onWanted: () => void;
  #bytesLeft: number;
  #sink: BodySink | undefined;
  #discards = false;

  /** @param onWanted is called when somebody wants it */
  constructor(bytesSaid: number | 'chunked', onWanted: () => void) {
    this.bytesSaid = bytesSaid;
    this.#onWanted = onWanted;
    this.#bytesLeft = bytesSaid === 'chunked' ? 0 : bytesSaid;
    this.#chunked = bytesSaid === 'chunked' ? new ChunkedBody((content) => this.#sink?.onContent(content)) : undefined;
  }

  /** Whether all of it was taken from the connection. */
  get isComplete(): boolean {
    return this.#chunked?.isComplete ?? this.#bytesLeft === 0;
  }

  /** Whether somebody wants it, or nobody ever will. */
  get isTaken(): boolean {
    return this.#discards || this.#sink !== undefined;
  }

  /** Bytes that are still to come, as far as that is known. */
  get bytesLeft(): number {
    if (this.#chunked === undefined) return this.#bytesLeft;
    return this.#chunked.isComplete ? 0 : Number.POSITIVE_INFINITY;
  }

  get violation(): Violation | undefined {
    return this.#chunked?.violation;
  }

  /** Hands it over. */
  read(sink: BodySink): void {
    this.#sink = sink;
    if (this.isComplete) sink.onEnd();
    else this.#onWanted();
  }

  /** Passes over what is still to come. */
  discard(): void {
    this.#sink = undefined;
    this.#discards = true;
  }

  /**
   * Takes bytes.
   * @returns where what is not of this body starts
   */
  push(bytes: Buffer, from: number): number {
    if (this.#chunked !== undefined) {
      const at = this.#chunked.push(bytes, from);
      if (this.#chunked.isComplete) this.#sink?.onEnd();
      return at;
    }
    const end = Math.min(bytes.byteLength, from + this.#bytesLeft);
    this.#bytesLeft -= end - from;
    this.#sink?.onContent(bytes.subarray(from, end));
    if (this.#bytesLeft === 0) this.#sink?.onEnd();
    return end;
  }

  /** Tells whoever waits for it that no more will come. */
  cut(): void {
    const sink = this.#sink;
    this.discard();
    sink?.onGone(new FerryError('INTERRUPTED', 'Cannot read the request: the client has gone'));
  }
}

/** Whoever wants a whole body: one of both is called, once; at once where all of it has come. */
export interface BodyTaker {
  readonly onBody: (body: Uint8Array) => void;
  /** Called with a {@link FerryError}: REQUEST_TOO_LARGE, OVERLOADED, or INTERRUPTED when the client goes. */
  readonly onFailure: (error: unknown) => void;
}

/**
 * Takes a request's body. How long it may take is the connection's limit. It fails with REQUEST_TOO_LARGE before it is read where the
 * client says its length, else as soon as it is too much, and with OVERLOADED as soon as all requests together are too much.
 */
export function takeBody(exchange: Exchange, limits: BodyLimits, taker: BodyTaker): void {
  const { body } = exchange;
  const said = body.bytesSaid === 'chunked' ? undefined : body.bytesSaid;
  if (said !== undefined && said > limits.bodyBytesMax) {
    taker.onFailure(tooLarge(`${said} bytes`, limits.bodyBytesMax));
  } else body.read(new WholeBody(exchange, limits, taker));
}

/**
 * Reads a request's body.
 * @throws {FerryError} REQUEST_TOO_LARGE, OVERLOADED, INTERRUPTED as {@link takeBody} has them
 */
export function readBody(exchange: Exchange, limits: BodyLimits): Promise<Uint8Array> {
  return new Promise((onBody, onFailure) => takeBody(exchange, limits, { onBody, onFailure }));
}

/** Puts a body together; one that came in one piece stays where it is. */
class WholeBody implements BodySink {
  readonly #exchange: Exchange;
  readonly #limits: BodyLimits;
  readonly #said: number | undefined;
  #taker: BodyTaker | undefined;
  #whole: Uint8Array | undefined;
  #room: BodyRoom | undefined;

  constructor(exchange: Exchange, limits: BodyLimits, taker: BodyTaker) {
    this.#exchange = exchange;
    this.#limits = limits;
    this.#taker = taker;
    const { bytesSaid } = exchange.body;
    this.#said = bytesSaid === 'chunked' ? undefined : bytesSaid;
  }

  onContent(content: Buffer): void {
    const { bodyBytesMax, budget, rooms } = this.#limits;
    const exchange = this.#exchange;
    // Given back with the answer: until then the model reads from it.
    exchange.heldBytes += content.byteLength;
    try {
      budget.take(content.byteLength);
      if (exchange.heldBytes > bodyBytesMax) throw tooLarge('more', bodyBytesMax);
    } catch (error) {
      exchange.body.discard();
      this.#settle()?.onFailure(error);
      return;
    }
    if (content.byteLength === this.#said) this.#whole = content;
    else {
      this.#room ??= new BodyRoom(this.#said, rooms);
      this.#room.add(content);
    }
  }

  onEnd(): void {
    this.#exchange.room = this.#room?.bytes;
    this.#settle()?.onBody(this.#whole ?? this.#room?.content ?? nothing);
  }

  onGone(error: FerryError): void {
    this.#settle()?.onFailure(error);
  }

  /** Gives whoever waits, the first time. */
  #settle(): BodyTaker | undefined {
    const taker = this.#taker;
    this.#taker = undefined;
    return taker;
  }
}

const nothing = new Uint8Array();

function tooLarge(found: string, bodyBytesMax: number): FerryError {
  return new FerryError(
    'REQUEST_TOO_LARGE',
    `Cannot read the request: it has ${found}, at most ${bodyBytesMax} bytes were wanted`,
  );
}
