/** Largest packet that is taken in, in bytes: the largest message, the longest topic, and some room. */
const packetBytesMax = 256 * 1024 + 64 * 1024 + 1024;

/** What a client sent that is no MQTT. */
export class FramingError extends Error {
  override readonly name = 'FramingError';
}

/**
 * Cuts a stream of bytes into whole MQTT packets, so that a packet is refused by its announced size before it is taken in.
 * @see MQTT 3.1.1, 2.2 Fixed header
 */
export class Framing {
  #chunks: Buffer[] = [];
  #heldBytes = 0;
  #wantedBytes = 2;

  /** Gives the packets that are complete now. @throws {FramingError} when a packet is too large or its length is malformed */
  *push(chunk: Buffer): Iterable<Buffer> {
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
    // Joined only when there is enough: a packet that comes byte by byte is not copied with every byte.
    while (this.#heldBytes >= this.#wantedBytes) {
      const bytes = this.#chunks.length === 1 ? (this.#chunks[0] ?? chunk) : Buffer.concat(this.#chunks);
      const length = packetLength(bytes);
      if (length !== undefined && bytes.length >= length) {
        this.#hold(bytes.subarray(length));
        yield bytes.subarray(0, length);
      } else {
        this.#hold(bytes);
        this.#wantedBytes = length ?? bytes.length + 1;
      }
    }
  }

  #hold(bytes: Buffer): void {
    this.#chunks = bytes.length === 0 ? [] : [bytes];
    this.#heldBytes = bytes.length;
    this.#wantedBytes = 2;
  }
}

/** Gives the length of the packet that begins here, header and all; `undefined` when that is not known yet. */
function packetLength(bytes: Buffer): number | undefined {
  let remaining = 0;
  for (let index = 1; index <= 4; index += 1) {
    const byte = bytes[index];
    if (byte === undefined) return undefined;
    remaining += (byte & 0x7f) * 128 ** (index - 1);
    if ((byte & 0x80) === 0) {
      const length = 1 + index + remaining;
      if (length > packetBytesMax)
        throw new FramingError(`a packet of ${length} bytes, ${packetBytesMax} at most are taken`);
      return length;
    }
  }
  throw new FramingError('a packet length of more than four bytes');
}
