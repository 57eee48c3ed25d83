import { FerryError } from '../../../shared/errors.ts';

const quote = 34;
const backslash = 92;
const minus = 45;
const plus = 43;
const point = 46;
const zero = 48;
const nine = 57;
const comma = 44;
const colon = 58;
const openBracket = 91;
const closeBracket = 93;
const openBrace = 123;
const closeBrace = 125;

/** How deep arrays and objects may lie in each other; a request needs a handful. */
const depthMax = 64;

/** 10^0 to 10^22: the powers of ten that a double holds exactly. */
const powersOfTen = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

/** Names are shorter; a decoder has more to do before its first character. */
const plainBytesMax = 32;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * A reader of JSON that walks over the bytes of a request. Tensors are most of a request, so numbers are read straight
 * into typed arrays, and nothing else is made of them.
 *
 * It takes what RFC 8259 allows and nothing more. Every failure is a {@link FerryError} REQUEST_INVALID that names the byte.
 */
export class JsonCursor {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  /** Where the next value starts, once {@link peek} has passed the space before it. */
  get position(): number {
    return this.#at;
  }

  /** Bytes that are not read yet. */
  get bytesLeft(): number {
    return this.#bytes.byteLength - this.#at;
  }

  /** Passes space and gives the next byte; NaN at the end. */
  peek(): number {
    const bytes = this.#bytes;
    let at = this.#at;
    let byte = bytes[at];
    while (byte === 32 || byte === 10 || byte === 13 || byte === 9) byte = bytes[++at];
    this.#at = at;
    return byte ?? Number.NaN;
  }

  /** Passes this character, which must be the next. */
  expect(character: number): void {
    if (this.peek() !== character) throw this.invalid(`"${String.fromCharCode(character)}" was wanted`);
    this.#at += 1;
  }

  /** Passes a comma, or the end of the array or object. Says whether another element follows. */
  more(end: number): boolean {
    if (this.peek() === comma) {
      this.#at += 1;
      return true;
    }
    this.expect(end);
    return false;
  }

  /** Reads an object member by member: the callback must read the member's value. */
  object(onMember: (name: string) => void): void {
    this.expect(openBrace);
    if (this.#takes(closeBrace)) return;
    do {
      const name = this.string();
      this.expect(colon);
      onMember(name);
    } while (this.more(closeBrace));
  }

  /** Reads an array: the callback must read one element. */
  array(onElement: () => void): void {
    this.expect(openBracket);
    if (this.#takes(closeBracket)) return;
    do onElement();
    while (this.more(closeBracket));
  }

  /** Reads a string. */
  string(): string {
    this.expect(quote);
    const plain = this.#plainString();
    if (plain !== undefined) return plain;
    const [start, end] = this.#passString();
    const raw = this.#bytes.subarray(start, end);
    try {
      // Escapes are for JSON.parse: it knows surrogates, and names are short.
      return raw.includes(backslash) ? (JSON.parse(`"${utf8.decode(raw)}"`) as string) : utf8.decode(raw);
    } catch {
      throw this.invalid('a string of UTF-8 text with JSON escapes was wanted');
    }
  }

  /** Reads a number as the double next to it. */
  number(): number {
    const bytes = this.#bytes;
    this.peek();
    const start = this.#at;
    let at = start;
    let negative = false;
    if (bytes[at] === minus) {
      negative = true;
      at += 1;
    }
    let mantissa = 0;
    let digits = 0;
    const first = at;
    for (let byte = bytes[at]; byte !== undefined && byte >= zero && byte <= nine; byte = bytes[++at]) {
      mantissa = mantissa * 10 + (byte - zero);
      digits += 1;
    }
    if (digits === 0 || (digits > 1 && bytes[first] === zero)) throw this.#notANumber(start);
    let exponent = 0;
    if (bytes[at] === point) {
      const fraction = ++at;
      for (let byte = bytes[at]; byte !== undefined && byte >= zero && byte <= nine; byte = bytes[++at]) {
        mantissa = mantissa * 10 + (byte - zero);
        digits += 1;
      }
      exponent = fraction - at;
      if (exponent === 0) throw this.#notANumber(start);
    }
    if (bytes[at] === 101 || bytes[at] === 69) {
      at = this.#passExponent(at, start);
      exponent = Number.NaN;
    }
    this.#at = at;
    // Up to 15 digits and a power of ten that a double holds: one rounding, so the result is the nearest double.
    if (digits <= 15 && exponent >= -22) {
      const value = exponent === 0 ? mantissa : mantissa / (powersOfTen[-exponent] ?? Number.NaN);
      return negative ? -value : value;
    }
    return Number(this.#ascii(start, at));
  }

  /**
   * Reads numbers one after the other straight into an array, as far as they stand there in the form that machines write: no space, no exponent,
   * at most 15 digits. What is left is for {@link number}, which knows all forms.
   *
   * Nothing is consumed beyond the last number and the comma behind it.
   * @returns how many were read; each of them was followed by a comma
   */
  plainNumbers(into: { readonly length: number; [index: number]: number }, from: number): number {
    const bytes = this.#bytes;
    let at = this.#at;
    let filled = from;
    while (filled < into.length) {
      let next = at;
      const negative = bytes[next] === minus;
      if (negative) next += 1;
      const first = next;
      let mantissa = 0;
      let byte = bytes[next] ?? 0;
      for (; byte >= zero && byte <= nine; byte = bytes[++next] ?? 0) mantissa = mantissa * 10 + (byte - zero);
      const whole = next - first;
      let decimals = 0;
      if (byte === point) {
        byte = bytes[++next] ?? 0;
        for (; byte >= zero && byte <= nine; byte = bytes[++next] ?? 0) {
          mantissa = mantissa * 10 + (byte - zero);
          decimals += 1;
        }
        if (decimals === 0) break;
      }
      // Up to 15 digits and a power of ten that a double holds: one rounding, so the result is the nearest double.
      if (byte !== comma || whole === 0 || (whole > 1 && bytes[first] === zero) || whole + decimals > 15) break;
      const value = decimals === 0 ? mantissa : mantissa / (powersOfTen[decimals] ?? Number.NaN);
      into[filled++] = negative ? -value : value;
      at = next + 1;
    }
    this.#at = at;
    return filled - from;
  }

  /** Reads a number as the text that stands there. */
  numberText(): string {
    this.peek();
    const start = this.#at;
    this.number();
    return this.#ascii(start, this.#at);
  }

  /** Reads `true` or `false`. */
  boolean(): boolean {
    if (this.#word('true')) return true;
    if (this.#word('false')) return false;
    throw this.invalid('true or false was wanted');
  }

  /** Passes a value of any kind. */
  skip(depth = 0): void {
    if (depth > depthMax) throw this.invalid(`arrays and objects lie deeper than ${depthMax} in each other`);
    const byte = this.peek();
    if (byte === openBrace) this.object(() => this.skip(depth + 1));
    else if (byte === openBracket) this.array(() => this.skip(depth + 1));
    else if (byte === quote) this.string();
    else if (byte === 116 || byte === 102) this.boolean();
    else if (byte === 110) {
      if (!this.#word('null')) throw this.invalid('a value was wanted');
    } else this.number();
  }

  /** Reads a small value of any kind, as JSON.parse does. */
  value(): unknown {
    this.peek();
    const start = this.#at;
    this.skip();
    return JSON.parse(utf8.decode(this.#bytes.subarray(start, this.#at))) as unknown;
  }

  /** Makes sure that nothing follows. */
  end(): void {
    if (!Number.isNaN(this.peek())) throw this.invalid('the end was wanted');
  }

  /** Makes the failure of what stands here. */
  invalid(wanted: string): FerryError {
    const byte = this.#bytes[this.#at];
    const found = byte === undefined ? 'it ends' : `it has "${String.fromCharCode(byte)}"`;
    return new FerryError('REQUEST_INVALID', `Cannot read the request's JSON: ${found} at byte ${this.#at}, ${wanted}`);
  }

  #takes(character: number): boolean {
    if (this.peek() !== character) return false;
    this.#at += 1;
    return true;
  }

  #notANumber(start: number): FerryError {
    this.#at = start;
    return this.invalid('a number was wanted');
  }

  #passExponent(from: number, start: number): number {
    let at = from + 1;
    if (this.#bytes[at] === plus || this.#bytes[at] === minus) at += 1;
    const digits = at;
    for (let byte = this.#bytes[at]; byte !== undefined && byte >= zero && byte <= nine; byte = this.#bytes[at])
      at += 1;
    if (at === digits) throw this.#notANumber(start);
    return at;
  }

  /** Reads a short string of visible ASCII without escapes, as names are; gives undefined, and passes nothing, where it is another. */
  #plainString(): string | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    let text = '';
    for (let at = start; at < start + plainBytesMax; at += 1) {
      const byte = bytes[at] ?? 0;
      if (byte === quote) {
        this.#at = at + 1;
        return text;
      }
      if (byte < 32 || byte > 126 || byte === backslash) return undefined;
      text += String.fromCharCode(byte);
    }
    return undefined;
  }

  /** Passes the rest of a string and gives where its content starts and ends. */
  #passString(): [start: number, end: number] {
    const start = this.#at;
    const bytes = this.#bytes;
    for (let at = start; ; at += 1) {
      const byte = bytes[at];
      if (byte === quote) {
        this.#at = at + 1;
        return [start, at];
      }
      if (byte === undefined || byte < 32) {
        this.#at = at;
        throw this.invalid('the rest of a string was wanted');
      }
      if (byte === backslash) at += 1;
    }
  }

  #word(word: string): boolean {
    this.peek();
    if (this.#ascii(this.#at, this.#at + word.length) !== word) return false;
    this.#at += word.length;
    return true;
  }

  #ascii(start: number, end: number): string {
    let text = '';
    for (const byte of this.#bytes.subarray(start, end)) text += String.fromCharCode(byte);
    return text;
  }
}
