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
  readonly #prefix = Buffer.alloc(prefixBytes);
  #prefixFilled = 0;
  #header = empty;
  /** Memory of its own: tensors that are read of it are aligned, and nothing is copied twice. */
  #body = empty;
  #filled = 0;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  /** Takes the next piece. */
  push(piece: Buffer): void {
    let at = 0;
    while (at < piece.byteLength) {
      at += this.#prefixFilled < prefixBytes ? this.#takePrefix(piece, at) : this.#takeContent(piece, at);
    }
  }

  #takePrefix(piece: Buffer, at: number): number {
    const taken = piece.copy(this.#prefix, this.#prefixFilled, at);
    this.#prefixFilled += taken;
    if (this.#prefixFilled === prefixBytes) {
      this.#header = Buffer.allocUnsafe(this.#prefix.readUInt32LE(0));
      this.#body = Buffer.allocUnsafeSlow(this.#prefix.readUInt32LE(4));
      this.#filled = 0;
    }
    return taken;
  }

  #takeContent(piece: Buffer, at: number): number {
    const headerLeft = this.#header.byteLength - this.#filled;
    const taken =
      headerLeft > 0
        ? piece.copy(this.#header, this.#filled, at)
        : piece.copy(this.#body, this.#filled - this.#header.byteLength, at);
    this.#filled += taken;
    if (this.#filled === this.#header.byteLength + this.#body.byteLength) this.#complete();
    return taken;
  }

  #complete(): void {
    const header = JSON.parse(this.#header.toString('utf8')) as unknown;
    const body = this.#body;
    this.#prefixFilled = 0;
    this.#body = empty;
    this.#onFrame({ header, body });
  }
}
