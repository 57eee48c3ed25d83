import { headBytesMax, invalid, parseHeaders, tooManyHeaders, type Violation } from './request-head.ts';

/** A line that says how long a chunk is, with what may stand behind it. */
const sizeLineBytesMax = 256;

const carriageReturn = 13;
const lineFeed = 10;

/** RFC 9112, 7.1: digits, and extensions that nobody looks at. Longer sizes than any body may have are not even read. */
const sizeLine = /^([0-9a-f]{1,8})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?$/i;

/** Finds the content in a body that comes in chunks. */
export class ChunkedBody {
  readonly #onContent: (content: Buffer) => void;
  #expected: 'content' | 'content-end' | 'done' | 'size' | 'trailer' = 'size';
  #contentLeft = 0;
  #line = '';
  #trailer = '';
  #violation: Violation | undefined;

  constructor(onContent: (content: Buffer) => void) {
    this.#onContent = onContent;
  }

  get isComplete(): boolean {
    return this.#expected === 'done';
  }

  /** Why it cannot be read on. */
  get violation(): Violation | undefined {
    return this.#violation;
  }

  /**
   * Takes bytes.
   * @returns where what is not of this body starts
   */
  push(bytes: Buffer, from: number): number {
    let at = from;
    while (at < bytes.byteLength && this.#expected !== 'done' && this.#violation === undefined) {
      at = this.#expected === 'content' ? this.#takeContent(bytes, at) : this.#takeLine(bytes, at);
    }
    return at;
  }

  #takeContent(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.byteLength, at + this.#contentLeft);
    this.#contentLeft -= end - at;
    if (this.#contentLeft === 0) this.#expected = 'content-end';
    this.#onContent(bytes.subarray(at, end));
    return end;
  }

  /** Takes a piece of a line, or its end, and acts on the line when it is whole. */
  #takeLine(bytes: Buffer, at: number): number {
    const feedAt = bytes.indexOf(lineFeed, at);
    const end = feedAt === -1 ? bytes.byteLength : feedAt + 1;
    // A line of this many bytes is refused whatever stands in it.
    this.#line += bytes.toString('latin1', at, Math.min(end, at + headBytesMax + 1));
    const bytesMax = this.#expected === 'trailer' ? headBytesMax - this.#trailer.length : sizeLineBytesMax;
    if (this.#line.length > bytesMax) {
      this.#violation = this.#expected === 'trailer' ? tooManyHeaders() : invalid('a short size of a chunk was wanted');
    } else if (feedAt !== -1) {
      const line = this.#line;
      this.#line = '';
      if (line.charCodeAt(line.length - 2) !== carriageReturn) this.#violation = invalid('CR LF was wanted');
      else this.#onLine(line.slice(0, -2));
    }
    return end;
  }

  #onLine(line: string): void {
    if (this.#expected === 'content-end') {
      if (line === '') this.#expected = 'size';
      else this.#violation = invalid('the end of a chunk was wanted');
    } else if (this.#expected === 'size') {
      const [, digits] = sizeLine.exec(line) ?? [];
      if (digits === undefined) this.#violation = invalid('the size of a chunk was wanted');
      this.#contentLeft = Number.parseInt(digits ?? '0', 16);
      this.#expected = this.#contentLeft > 0 ? 'content' : 'trailer';
    } else if (line !== '') this.#trailer += `${line}\r\n`;
    else {
      // Nobody asks for trailers, but what they hold must be what headers hold.
      const trailer = parseHeaders(this.#trailer, 0);
      if ('status' in trailer) this.#violation = trailer;
      else this.#expected = 'done';
    }
  }
}
