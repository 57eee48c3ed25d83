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
  readonly onContent: (content: Buffer) => void;
  readonly onEnd: () => void;
  readonly onGone: (error: FerryError) => void;
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

/**
 * Reads a request's body. How long it may take is the connection's limit.
 * @throws {FerryError} REQUEST_TOO_LARGE before it is read where the client says its length, else as soon as it is too much
 * @throws {FerryError} OVERLOADED as soon as all requests together are too much
 * @throws {FerryError} INTERRUPTED when the client goes
 */
export function readBody(exchange: Exchange, { bodyBytesMax, budget, rooms }: BodyLimits): Promise<Uint8Array> {
  const { body } = exchange;
  const said = body.bytesSaid === 'chunked' ? undefined : body.bytesSaid;
  if (said !== undefined && said > bodyBytesMax) return Promise.reject(tooLarge(`${said} bytes`, bodyBytesMax));
  return new Promise((resolve, reject) => {
    const room = new BodyRoom(said, rooms);
    body.read({
      onContent: (content) => {
        // Given back with the answer: until then the model reads from it.
        exchange.heldBytes += content.byteLength;
        try {
          budget.take(content.byteLength);
          if (exchange.heldBytes > bodyBytesMax) throw tooLarge('more', bodyBytesMax);
          room.add(content);
        } catch (error) {
          body.discard();
          reject(error);
        }
      },
      onEnd: () => {
        exchange.room = room.ownRoom;
        resolve(room.content);
      },
      onGone: reject,
    });
  });
}

function tooLarge(found: string, bodyBytesMax: number): FerryError {
  return new FerryError(
    'REQUEST_TOO_LARGE',
    `Cannot read the request: it has ${found}, at most ${bodyBytesMax} bytes were wanted`,
  );
}
