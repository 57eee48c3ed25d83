import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** How many bytes are read at once: small, since most of what follows a field in a model file is skipped. */
const windowBytes = 8192;
/** The longest text that is read, in bytes; names and versions are short, so anything longer is no text. */
const textBytesMax = 1 << 20;
/** A varint of 64 bits takes ten bytes at most. @see https://protobuf.dev/programming-guides/encoding/#varints */
const varintBytesMax = 10;

/** Where a message or a field's value is in the file, in bytes; the end is exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** One field of a message as it is on the wire. */
export interface WireField extends ByteRange {
  readonly number: number;
  /** Where its key begins; a range's start is where its value does. */
  readonly at: number;
  /** The value of a varint field, as the 64-bit two's complement says; 0n for the others. */
  readonly integer: bigint;
  /** Whether it is length-delimited: a text, bytes, or a message. */
  readonly delimited: boolean;
}

/** Says that the bytes are no protobuf message, and where. */
export class WireError extends Error {
  override readonly name = 'WireError';
  /** Offset in the file, in bytes. */
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

/**
 * A file that holds one protobuf message, read by random access: only what is asked for is read, so that a message of
 * gigabytes takes a few kilobytes of memory.
 * @see https://protobuf.dev/programming-guides/encoding/
 */
export class ProtobufFile implements Disposable {
  /** The outermost message: the whole file, or a part of it. */
  readonly whole: ByteRange;
  readonly #file: number;
  readonly #window = Buffer.alloc(windowBytes);
  #windowStart = 0;
  #windowEnd = 0;

  /** @param within where the message lies in the file @default all of it */
  constructor(path: string, within?: ByteRange) {
    this.#file = openSync(path, 'r');
    this.whole = within ?? { start: 0, end: fstatSync(this.#file).size };
  }

  /**
   * Walks over the fields of a message in the order of the file.
   * @throws {WireError} when a field is malformed or goes on beyond the end of the message
   */
  *fields(message: ByteRange): Generator<WireField> {
    let at = message.start;
    while (at < message.end) {
      const key = this.#varint(at, message.end);
      const field = this.#field(Number(key.value), at, key.end, message.end);
      yield field;
      at = field.end;
    }
  }

  /** Reads a length-delimited field's value as UTF-8 text. */
  text(range: ByteRange): string {
    const bytes = range.end - range.start;
    if (bytes > textBytesMax) {
      throw new WireError(`a text has ${bytes} bytes, at most ${textBytesMax} were wanted`, range.start);
    }
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(this.bytes(range));
    } catch (cause) {
      throw cause instanceof TypeError ? new WireError('a text is no UTF-8', range.start) : cause;
    }
  }

  /** Reads a field of integers, of which a writer may pack several into one. */
  integers(field: WireField): bigint[] {
    if (!field.delimited) return [field.integer];
    const integers: bigint[] = [];
    for (let at = field.start; at < field.end;) {
      const { value, end } = this.#varint(at, field.end);
      integers.push(BigInt.asIntN(64, value));
      at = end;
    }
    return integers;
  }

  /** Reads bytes; fewer than asked for where the file ends before. */
  bytes(range: ByteRange): Uint8Array {
    const bytes = Buffer.alloc(range.end - range.start);
    return bytes.subarray(0, readSync(this.#file, bytes, 0, bytes.length, range.start));
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  #field(key: number, keyAt: number, valueAt: number, end: number): WireField {
    const number = Math.floor(key / 8);
    if (number < 1 || number > 536_870_911) throw new WireError(`no field may have the number ${number}`, keyAt);
    const field = { number, at: keyAt, integer: 0n, delimited: false };
    switch (key % 8) {
      case 0: {
        const { value, end: valueEnd } = this.#varint(valueAt, end);
        return { ...field, start: valueAt, end: valueEnd, integer: BigInt.asIntN(64, value) };
      }
      case 1:
        return { ...field, ...this.#sized(number, valueAt, 8, end) };
      case 2: {
        const length = this.#varint(valueAt, end);
        return { ...field, ...this.#sized(number, length.end, Number(length.value), end), delimited: true };
      }
      case 5:
        return { ...field, ...this.#sized(number, valueAt, 4, end) };
      default:
        // Groups (3 and 4) are of proto2 alone, and 6 and 7 were never given a meaning.
        throw new WireError(`field ${number} has the wire type ${key % 8}, which nothing here has`, keyAt);
    }
  }

  #sized(number: number, start: number, length: number, end: number): ByteRange {
    if (start + length > end) {
      const whose = end === this.whole.end ? 'the file' : 'its message';
      throw new WireError(`field ${number} goes on to byte ${start + length}, but ${whose} ends at byte ${end}`, start);
    }
    return { start, end: start + length };
  }

  #varint(start: number, messageEnd: number): { readonly value: bigint; readonly end: number } {
    let value = 0n;
    for (let index = 0; index < varintBytesMax; index += 1) {
      if (start + index >= messageEnd) throw new WireError(`a number is cut off`, start);
      const byte = this.#byte(start + index);
      value |= BigInt(byte & 0x7f) << BigInt(7 * index);
      if (byte < 0x80) return { value, end: start + index + 1 };
    }
    throw new WireError(`a number has more than ${varintBytesMax} bytes`, start);
  }

  #byte(at: number): number {
    if (at < this.#windowStart || at >= this.#windowEnd) {
      this.#windowStart = at;
      this.#windowEnd = at + readSync(this.#file, this.#window, 0, windowBytes, at);
    }
    const byte = this.#window[at - this.#windowStart];
    // The file has become shorter while it was read.
    if (byte === undefined || at >= this.#windowEnd) throw new WireError('the file ends here', at);
    return byte;
  }
}
