import type { BodyFraming } from './message-head.ts';

/** Longest line of a chunked body: sizes with extensions, and trailers. */
const lineBytesMax = 8_192;
const lineFeed = 0x0a;

/** Finds where the body of a message ends, in the pieces that it comes in. Only counts: the bytes go on as they are. */
export class BodyReader {
  #left: number;
  readonly #kind: BodyFraming['kind'];
  #state: 'size' | 'data' | 'trailer' | 'done';
  #line = '';
  #broken = false;

  constructor(framing: BodyFraming) {
    this.#kind = framing.kind;
    this.#left = framing.kind === 'length' ? framing.bytes : 0;
    this.#state = framing.kind === 'none' ? 'done' : framing.kind === 'chunked' ? 'size' : 'data';
  }

  /** Whether all of it has come. */
  get isDone(): boolean {
    return this.#state === 'done';
  }

  /** Whether it is not well formed, so that nobody knows where it ends. */
  get isBroken(): boolean {
    return this.#broken;
  }

  /** Whether the end of the connection is its end. */
  get endsWithConnection(): boolean {
    return this.#kind === 'close';
  }

  /** Takes the next piece, and gives how many of its bytes, from `at` on, belong to the body. */
  take(piece: Buffer, at = 0): number {
    const there = piece.byteLength - at;
    if (this.#kind === 'close') return there;
    if (this.#kind !== 'chunked') {
      const taken = Math.min(this.#left, there);
      this.#left -= taken;
      if (this.#left === 0) this.#state = 'done';
      return taken;
    }
    return this.#takeChunks(piece, at) - at;
  }

  #takeChunks(piece: Buffer, from: number): number {
    let at = from;
    while (at < piece.byteLength && this.#state !== 'done' && !this.#broken) {
      if (this.#state === 'data') {
        const taken = Math.min(this.#left, piece.byteLength - at);
        at += taken;
        this.#left -= taken;
        if (this.#left === 0) this.#state = 'size';
        continue;
      }
      const end = piece.indexOf(lineFeed, at);
      this.#line += piece.toString('latin1', at, end < 0 ? piece.byteLength : end + 1);
      at = end < 0 ? piece.byteLength : end + 1;
      if (this.#line.length > lineBytesMax) this.#broken = true;
      else if (end >= 0) this.#endLine();
    }
    return at;
  }

  #endLine(): void {
    const line = this.#line;
    this.#line = '';
    if (this.#state === 'trailer') {
      if (line === '\r\n') this.#state = 'done';
      return;
    }
    const [, size] = /^([0-9a-f]{1,8})(?:[ \t]*;[^\r\n]*)?\r\n$/i.exec(line) ?? [];
    if (size === undefined) {
      this.#broken = true;
      return;
    }
    const bytes = Number.parseInt(size, 16);
    // The line end after the data belongs to the chunk.
    this.#left = bytes + 2;
    this.#state = bytes === 0 ? 'trailer' : 'data';
  }
}
