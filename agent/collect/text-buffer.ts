const zero = 48;
const minus = 45;
const point = 46;
const letterE = 101;

/** Room beyond this is given back when it is not needed any more. */
const keptBytesMax = 1024 * 1024;

/** Up to here a loop is faster than a call into Node. */
const shortTextMax = 24;

/** 10^0 to 10^22: the powers of ten that a double holds exactly. */
const powersOfTen = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

/** Down to this, nine significant digits need no power of ten beyond those. */
const leastExact = 1e-14;

/** More than a few roundings of doubles change a value by. */
const offBy = 2 ** -48;

/** A float32 and its bits (IEEE 754): the exponent of two is what the exponent of ten is told from, several times faster than by a logarithm. */
const floats = new Float32Array(1);
const floatBits = new Int32Array(floats.buffer);
/** log10(2) in 4096ths. */
const decimalsOfTwo = 1233;

/** Below this float32 gives up digits, down to one (IEEE 754, subnormal numbers). */
const leastOfFullPrecision = 1.17549435e-38;

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
    if (text.length > shortTextMax) {
      this.#length += this.#bytes.write(text, this.#length, 'latin1');
      return;
    }
    for (let at = 0; at < text.length; at += 1) this.#bytes[this.#length++] = text.charCodeAt(at);
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
    if (size < leastOfFullPrecision || size >= 1e15) {
      this.#float32Slowly(value);
      return;
    }
    this.#reserve(32);
    if (value < 0) this.#bytes[this.#length++] = minus;
    if (size < leastExact) this.#shortestOfSmall(size);
    else if (size < 1e6 && Math.trunc(size) === size) this.#digits(size);
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
    floats[0] = size;
    let magnitude = ((((floatBits[0] ?? 0) >> 23) - 127) * decimalsOfTwo) >> 12;
    // Between a power of two and the next one there may be a power of ten.
    if (size >= power(magnitude + 1)) magnitude += 1;
    for (let precision = 6; precision <= 9; precision += 1) {
      const exponent = magnitude - precision + 1;
      const digits = exponent < 0 ? Math.round(size * power(-exponent)) : Math.round(size / power(exponent));
      const readBack = exponent < 0 ? digits / power(-exponent) : digits * power(exponent);
      if (Math.fround(readBack) !== size) continue;
      // At most nine digits: whole numbers of 32 bits, which are divided several times faster than doubles.
      this.#decimal(digits | 0, exponent);
      return;
    }
    this.#float32Slowly(size);
  }

  /**
   * Does the same below {@link leastExact}, where products with powers of ten are rounded: digits count only where what they may
   * be off by makes no other float32 of them.
   */
  #shortestOfSmall(size: number): void {
    let raised = size * 1e14;
    let lowered = 1e14;
    let shift = 14;
    for (; raised < 1e-8; shift += 8) {
      raised *= 1e8;
      lowered *= 1e8;
    }
    const magnitude = Math.floor(Math.log10(raised));
    for (let precision = 6; precision <= 9; precision += 1) {
      const exponent = magnitude - precision + 1;
      const digits = Math.round(raised * power(-exponent));
      const readBack = digits / power(-exponent) / lowered;
      if (Math.fround(readBack * (1 - offBy)) !== size || Math.fround(readBack * (1 + offBy)) !== size) continue;
      this.#decimal(digits | 0, exponent - shift);
      return;
    }
    this.#float32Slowly(size);
  }

  /** Writes digits × 10^exponent: plainly, or as `1.25e-9` where that is what JavaScript writes too. */
  #decimal(allDigits: number, allExponent: number): void {
    let digits = allDigits;
    let exponent = allExponent;
    while (digits % 10 === 0) {
      digits = (digits / 10) | 0;
      exponent += 1;
    }
    let count = 1;
    for (let rest = digits; rest >= 10; rest = (rest / 10) | 0) count += 1;
    const beforePoint = count + exponent;
    if (beforePoint <= -6) {
      this.#pointed(digits, { count, beforePoint: 1 });
      this.#bytes[this.#length++] = letterE;
      this.#bytes[this.#length++] = minus;
      this.#pointed(1 - beforePoint, { count: beforePoint > -9 ? 1 : 2, beforePoint: 2 });
    } else if (beforePoint > 0) {
      this.#pointed(digits, { count, beforePoint });
      for (; exponent > 0; exponent -= 1) this.#bytes[this.#length++] = zero;
    } else {
      this.#bytes[this.#length++] = zero;
      this.#bytes[this.#length++] = point;
      for (let zeros = beforePoint; zeros < 0; zeros += 1) this.#bytes[this.#length++] = zero;
      this.#pointed(digits, { count, beforePoint: count });
    }
  }

  /** Writes the digits of a number that has so many, with a point behind some of them unless it has no more. */
  #pointed(digits: number, { count, beforePoint }: { readonly count: number; readonly beforePoint: number }): void {
    const bytes = this.#bytes;
    let left = digits;
    let at = this.#length + count - (count > beforePoint ? 0 : 1);
    this.#length = at + 1;
    for (let digit = count; digit > 0; digit -= 1) {
      if (digit === beforePoint && count > beforePoint) bytes[at--] = point;
      const rest = (left / 10) | 0;
      bytes[at--] = zero + (left - rest * 10);
      left = rest;
    }
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

  /** For sizes that are rare. */
  #float32Slowly(value: number): void {
    for (let precision = Math.abs(value) < leastOfFullPrecision ? 1 : 6; precision <= 9; precision += 1) {
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
