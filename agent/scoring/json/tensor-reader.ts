import type { TensorType } from '../../../shared/model/signature.ts';
import type { NumericType } from '../../../shared/model/numeric-arrays.ts';
import { allocate, type NumericData, type TensorData } from '../../collect/tensor.ts';
import type { JsonCursor } from './json-cursor.ts';

const openBracket = 91;
const closeBracket = 93;
const quote = 34;

/** More dimensions than any model has. */
const rankMax = 16;

/** What of a tensor stands in a JSON value. */
export interface NestedValues {
  /** As the arrays lie in each other; dimensions below an empty one are missing. */
  readonly shape: number[];
  readonly data: TensorData;
}

/** The whole numbers that a type holds. */
const wholeRanges = {
  int8: [-128, 127],
  int16: [-32_768, 32_767],
  int32: [-2_147_483_648, 2_147_483_647],
  uint8: [0, 255],
  uint16: [0, 65_535],
  uint32: [0, 4_294_967_295],
} as const;

const bigRanges = {
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
} as const;

/**
 * Reads nested arrays of scalars, or one scalar, into the elements of a tensor.
 *
 * Floats may also be the strings "NaN", "Infinity" and "-Infinity", which JSON has no numbers for; 64-bit integers also
 * strings of digits; booleans also 0 and 1.
 * @param elementsHint elements that are expected, to make room for
 * @throws {FerryError} REQUEST_INVALID when the arrays are ragged, or a value does not fit the type
 */
export function readNested(cursor: JsonCursor, type: TensorType, elementsHint: number): NestedValues {
  const reader = new NestedReader(cursor, elementSink(cursor, type, elementsHint));
  return reader.read();
}

/** Takes scalars. */
interface ElementSink {
  /** Reads the scalar at the cursor and keeps it. */
  readOne(): void;
  /** Reads scalars up to the end of their array, and says how many. */
  readAll(): number;
  finish(): TensorData;
}

class NestedReader {
  readonly #cursor: JsonCursor;
  readonly #sink: ElementSink;
  readonly #shape: number[] = [];
  #rank = -1;

  constructor(cursor: JsonCursor, sink: ElementSink) {
    this.#cursor = cursor;
    this.#sink = sink;
  }

  read(): NestedValues {
    if (this.#cursor.peek() === openBracket) this.#level(0);
    else this.#sink.readOne();
    return { shape: this.#shape, data: this.#sink.finish() };
  }

  #level(depth: number): void {
    const cursor = this.#cursor;
    if (depth >= rankMax) throw cursor.invalid(`at most ${rankMax} dimensions were wanted`);
    cursor.expect(openBracket);
    let count = 0;
    const first = cursor.peek();
    if (first === closeBracket) cursor.expect(closeBracket);
    else if (first === openBracket) {
      do {
        if (cursor.peek() !== openBracket) throw cursor.invalid('an array was wanted, like those before it');
        this.#level(depth + 1);
        count += 1;
      } while (cursor.more(closeBracket));
    } else count = this.#leaves(depth + 1);
    const before = this.#shape[depth];
    if (before === undefined) this.#shape[depth] = count;
    else if (before !== count)
      throw cursor.invalid(`${before} elements were wanted, as in the arrays before, not ${count}`);
  }

  #leaves(rank: number): number {
    const cursor = this.#cursor;
    if (this.#rank === -1) this.#rank = rank;
    else if (this.#rank !== rank) throw cursor.invalid('an array was wanted, like those before it');
    return this.#sink.readAll();
  }
}

function elementSink(cursor: JsonCursor, type: TensorType, elementsHint: number): ElementSink {
  switch (type) {
    case 'string': {
      const texts: string[] = [];
      const readOne = (): void => void texts.push(cursor.string());
      return { readOne, readAll: () => readEach(cursor, readOne), finish: () => texts };
    }
    case 'int64':
    case 'uint64':
      return numericSink(cursor, { type, elementsHint, read: () => bigInteger(cursor, bigRanges[type]) });
    case 'bool':
      return numericSink(cursor, { type, elementsHint, read: () => boolean(cursor) });
    case 'float16':
    case 'float32':
    case 'float64':
      return new FloatSink(cursor, type, elementsHint);
    case 'int16':
    case 'int32':
    case 'int8':
    case 'uint16':
    case 'uint32':
    case 'uint8':
      return numericSink(cursor, { type, elementsHint, read: () => whole(cursor, wholeRanges[type]) });
    default:
      throw new Error(`There is no tensor type ${String(type satisfies never)}`);
  }
}

function numericSink(
  cursor: JsonCursor,
  of: { readonly type: NumericType; readonly elementsHint: number; readonly read: () => number | bigint },
): ElementSink {
  let data = allocate(of.type, Math.max(of.elementsHint, 1));
  let length = 0;
  const readOne = (): void => {
    if (length === data.length) data = grown(of.type, data);
    data[length++] = of.read();
  };
  return {
    readOne,
    readAll: () => readEach(cursor, readOne),
    finish: () => (length === data.length ? data : data.subarray(0, length)),
  };
}

/** Floats are what requests are full of: read in one loop that calls nothing but the cursor. */
class FloatSink implements ElementSink {
  readonly #cursor: JsonCursor;
  readonly #type: NumericType;
  #data: NumericData;
  #length = 0;

  constructor(cursor: JsonCursor, type: NumericType, elementsHint: number) {
    this.#cursor = cursor;
    this.#type = type;
    this.#data = allocate(type, Math.max(elementsHint, 1));
  }

  readOne(): void {
    this.#keep(float(this.#cursor));
  }

  readAll(): number {
    const cursor = this.#cursor;
    const before = this.#length;
    do {
      this.#length += cursor.plainNumbers(this.#data as Float32Array, this.#length);
      this.#keep(cursor.peek() === quote ? float(cursor) : cursor.number());
    } while (cursor.more(closeBracket));
    return this.#length - before;
  }

  finish(): TensorData {
    return this.#length === this.#data.length ? this.#data : this.#data.subarray(0, this.#length);
  }

  #keep(value: number): void {
    if (this.#length === this.#data.length) this.#data = grown(this.#type, this.#data);
    this.#data[this.#length++] = value;
  }
}

function readEach(cursor: JsonCursor, readOne: () => void): number {
  let count = 0;
  do {
    readOne();
    count += 1;
  } while (cursor.more(closeBracket));
  return count;
}

function grown(type: NumericType, data: NumericData): NumericData {
  const larger = allocate(type, data.length * 2);
  larger.set(data as never);
  return larger;
}

function float(cursor: JsonCursor): number {
  if (cursor.peek() !== quote) return cursor.number();
  const text = cursor.string();
  if (text === 'NaN') return Number.NaN;
  if (text === 'Infinity') return Number.POSITIVE_INFINITY;
  if (text === '-Infinity') return Number.NEGATIVE_INFINITY;
  throw cursor.invalid('a number, "NaN", "Infinity" or "-Infinity" was wanted');
}

function whole(cursor: JsonCursor, [least, most]: readonly [number, number]): number {
  const value = cursor.number();
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw cursor.invalid(`a whole number from ${least} to ${most} was wanted`);
}

function bigInteger(cursor: JsonCursor, [least, most]: readonly [bigint, bigint]): bigint {
  const text = cursor.peek() === quote ? cursor.string() : cursor.numberText();
  const value = /^-?\d{1,20}$/.test(text) ? BigInt(text) : undefined;
  if (value !== undefined && value >= least && value <= most) return value;
  throw cursor.invalid(`a whole number from ${least} to ${most} was wanted`);
}

function boolean(cursor: JsonCursor): number {
  const byte = cursor.peek();
  if (byte === 116 || byte === 102) return Number(cursor.boolean());
  const value = cursor.number();
  if (value === 0 || value === 1) return value;
  throw cursor.invalid('true or false was wanted');
}
