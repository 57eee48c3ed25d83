const zero = 48;
const minus = 45;
const point = 46;

/** Room beyond this is given back when it is not needed any more. */
const keptBytesMax = 1024 * 1024;

/** 10^0 to 10^22: the powers of ten that a double holds exactly. */
const powersOfTen = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

/**
 * Text that is built as UTF-8 bytes, for JSON and CSV: appends go straight into one growing buffer, numbers without a
 * string in between.
 *
 * A float32 is written as the shortest decimal that reads back as the same float32 (`0.1`, not `0.10000000149011612`).
 */
export class TextBuffer {
  #bytes: Buffer;
  #length = 0;

  /** @param capacity bytes to start with; it grows by doubling */
  constructor(capacity = 1024) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** Gives what was written: a view that is good until the next append. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Gives what was written as a string; all of it must be ASCII. */
  asciiText(): string {
    return this.#bytes.toString('latin1', 0, this.#length);
  }

  /** Forgets what was written, and keeps the room unless that is much. */
  clear(): void {
    this.#length = 0;
    if (this.#bytes.length > keptBytesMax) this.#bytes = Buffer.allocUnsafeSlow(keptBytesMax);
  }

  /** Appends one byte. */
  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  /** Appends text of which every character is ASCII. */
  ascii(text: string): void {
    this.#reserve(text.length);
    this.#length += this.#bytes.write(text, this.#length, 'latin1');
  }

  /** Appends any text. */
  utf8(text: string): void {
    this.#reserve(text.length * 3);
    this.#length += this.#bytes.write(text, this.#length, 'utf8');
  }

  /** Appends bytes as they are. */
  bytes(value: Uint8Array): void {
    this.#reserve(value.byteLength);
    this.#bytes.set(value, this.#length);
    this.#length += value.byteLength;
  }

  /** Appends a finite float32. */
  float32(value: number): void {
    if (value === 0) {
      this.ascii(Object.is(value, -0) ? '-0' : '0');
      return;
    }
    const size = Math.abs(value);
    if (size < 1e-6 || size >= 1e15) {
      this.#float32Slowly(value);
      return;
    }
    this.#reserve(32);
    if (value < 0) this.#bytes[this.#length++] = minus;
    if (size < 1e6 && Math.trunc(size) === size) this.#digits(size);
    else this.#shortest(size);
  }

  /** Appends a finite float64, or any number in JavaScript's own notation. */
  number(value: number): void {
    this.ascii(Object.is(value, -0) ? '-0' : String(value));
  }

  /** Appends a whole number that fits 32 bits. */
  integer(value: number): void {
    this.#reserve(11);
    if (value < 0) this.#bytes[this.#length++] = minus;
    this.#digits(Math.abs(value));
  }

  /**
   * Writes the shortest of 6 to 9 significant digits that reads back as the same float32 (9 always do).
   * The digits and the powers of ten are exact doubles here, so the division is what a reader of the text computes.
   */
  #shortest(size: number): void {
    let magnitude = Math.floor(Math.log10(size));
    if (size < power(magnitude)) magnitude -= 1;
    else if (size >= power(magnitude + 1)) magnitude += 1;
    for (let precision = 6; precision <= 9; precision += 1) {
      const exponent = magnitude - precision + 1;
      const digits = exponent < 0 ? Math.round(size * power(-exponent)) : Math.round(size / power(exponent));
      const readBack = exponent < 0 ? digits / power(-exponent) : digits * power(exponent);
      if (Math.fround(readBack) !== size) continue;
      this.#decimal(digits, exponent);
      return;
    }
    this.#float32Slowly(size);
  }

  /** Writes digits × 10^exponent in plain notation. */
  #decimal(allDigits: number, allExponent: number): void {
    let digits = allDigits;
    let exponent = allExponent;
    while (digits % 10 === 0) {
      digits /= 10;
      exponent += 1;
    }
    if (exponent >= 0) {
      this.#digits(digits);
      for (; exponent > 0; exponent -= 1) this.#bytes[this.#length++] = zero;
      return;
    }
    const scale = power(-exponent);
    const whole = Math.floor(digits / scale);
    this.#digits(whole);
    this.#bytes[this.#length++] = point;
    let fraction = digits - whole * scale;
    for (let at = this.#length - exponent - 1; at >= this.#length; at -= 1) {
      const rest = Math.floor(fraction / 10);
      this.#bytes[at] = zero + (fraction - rest * 10);
      fraction = rest;
    }
    this.#length -= exponent;
  }

  /** Writes a whole number from 0 up; there must be room. */
  #digits(value: number): void {
    let end = this.#length + 1;
    for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) end += 1;
    let left = value;
    for (let at = end - 1; at >= this.#length; at -= 1) {
      const rest = Math.floor(left / 10);
      this.#bytes[at] = zero + (left - rest * 10);
      left = rest;
    }
    this.#length = end;
  }

  /** For sizes that are rare; the smallest have less than 6 digits. */
  #float32Slowly(value: number): void {
    for (let precision = 1; precision <= 9; precision += 1) {
      const rounded = Number(value.toPrecision(precision));
      if (Math.fround(rounded) !== value) continue;
      this.number(rounded);
      return;
    }
    this.number(value);
  }

  #reserve(bytes: number): void {
    const wanted = this.#length + bytes;
    if (wanted <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(wanted, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

function power(exponent: number): number {
  return exponent < 0 ? 1 / (powersOfTen[-exponent] ?? Number.NaN) : (powersOfTen[exponent] ?? Number.NaN);
}
