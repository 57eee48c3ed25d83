import type { Writable } from 'node:stream';

/** A message between the server and a worker: a small JSON document, and bytes that are passed on unread. */
export interface Frame {
  readonly header: unknown;
  readonly body: Uint8Array;
}

/** Two lengths, little-endian: of the header, of the body. */
const prefixBytes = 8;

const empty = Buffer.alloc(0);

/** Writes a message: its lengths, its header as JSON, its body. */
export function writeFrame(stream: Writable, header: object, body: Uint8Array | string = empty): void {
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.allocUnsafe(prefixBytes);
  prefix.writeUInt32LE(json.byteLength, 0);
  // A string is ASCII: see Answer.
  prefix.writeUInt32LE(body.length, 4);
  stream.cork();
  stream.write(Buffer.concat([prefix, json]));
  if (typeof body === 'string') stream.write(body, 'latin1');
  else if (body.byteLength > 0) stream.write(body);
  stream.uncork();
}

/** Puts messages together from the pieces in which they arrive. The other side is this program: lengths need no limit. */
export class FrameReader {
  readonly #onFrame: (frame: Frame) => void;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #wanted = prefixBytes;
  #headerBytes = -1;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  /** Takes the next piece. */
  push(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#bytes += piece.byteLength;
    while (this.#bytes >= this.#wanted) this.#advance();
  }

  #advance(): void {
    if (this.#headerBytes === -1) {
      const prefix = this.#take(prefixBytes);
      this.#headerBytes = prefix.readUInt32LE(0);
      this.#wanted = this.#headerBytes + prefix.readUInt32LE(4);
      return;
    }
    const frame = this.#take(this.#wanted);
    const header = JSON.parse(frame.toString('utf8', 0, this.#headerBytes)) as unknown;
    const body = frame.subarray(this.#headerBytes);
    this.#headerBytes = -1;
    this.#wanted = prefixBytes;
    this.#onFrame({ header, body });
  }

  #take(bytes: number): Buffer {
    const [first] = this.#pieces;
    const all = this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces, this.#bytes);
    this.#bytes -= bytes;
    this.#pieces = this.#bytes === 0 ? [] : [all.subarray(bytes)];
    return all.subarray(0, bytes);
  }
}
