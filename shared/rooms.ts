/**
 * Memory that is lent and given back, so that much passes through little: what is used again at once is still in the processor's cache,
 * and is no garbage that somebody has to find.
 */
export class Rooms {
  readonly #bytes: number;
  readonly #free: Buffer<ArrayBuffer>[] = [];
  readonly #lent = new Map<ArrayBufferLike, Buffer<ArrayBuffer>>();

  /** @param bytes how large each is */
  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  /** Lends one: one that was given back, or a new one. */
  take(): Buffer<ArrayBuffer> {
    const room = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
    this.#lent.set(room.buffer, room);
    return room;
  }

  /** Takes back the room that a piece is a part of; nobody may use it from here on. Pieces of other memory are passed over. */
  giveBack(piece: Uint8Array): void {
    const room = this.#lent.get(piece.buffer);
    if (room === undefined) return;
    this.#lent.delete(piece.buffer);
    this.#free.push(room);
  }
}
