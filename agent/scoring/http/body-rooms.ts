/** Room that is made for a body at once, whatever length the client says; more is made as it comes. */
const roomAtOnceMax = 4 * 1024 * 1024;
const roomAtLeast = 16 * 1024;

/** Rooms that are kept for the next bodies, and the sizes that are worth it. */
const roomsMax = 8;
const keptBytes = { least: 64 * 1024, most: 2 * 1024 * 1024 };

/** Room of large bodies that were answered, to be used again: the system takes longer to give it anew than to copy a body into it. */
export class BodyRooms {
  readonly #kept: Buffer[] = [];

  /** Gives room for at least so many bytes, not cleared. */
  take(bytes: number): Buffer {
    const at = this.#kept.findIndex((room) => room.byteLength >= bytes);
    const [kept] = at === -1 ? [] : this.#kept.splice(at, 1);
    return kept ?? Buffer.allocUnsafeSlow(bytes);
  }

  /** Takes room back, of which nobody has a view any more. */
  give(room: Buffer): void {
    if (room.byteLength < keptBytes.least || room.byteLength > keptBytes.most) return;
    if (this.#kept.length < roomsMax) this.#kept.push(room);
  }
}

/** Where the pieces of a body are put together. */
export class BodyRoom {
  readonly #bytesSaid: number | undefined;
  readonly #rooms: BodyRooms;
  #bytes: Buffer | undefined;
  #filled = 0;

  constructor(bytesSaid: number | undefined, rooms: BodyRooms) {
    this.#bytesSaid = bytesSaid;
    this.#rooms = rooms;
  }

  get content(): Uint8Array | undefined {
    return this.#bytes?.subarray(0, this.#filled);
  }

  /** What may be given back to the rooms when the body is needed no more. */
  get bytes(): Buffer | undefined {
    return this.#bytes;
  }

  add(piece: Buffer): void {
    this.#bytes = this.#withRoomFor(this.#filled + piece.byteLength);
    piece.copy(this.#bytes, this.#filled);
    this.#filled += piece.byteLength;
  }

  #withRoomFor(bytes: number): Buffer {
    const before = this.#bytes;
    if (before !== undefined && before.byteLength >= bytes) return before;
    const most = this.#bytesSaid ?? Number.POSITIVE_INFINITY;
    const wanted = before === undefined ? Math.min(this.#bytesSaid ?? roomAtLeast, roomAtOnceMax) : bytes * 2;
    const grown = this.#rooms.take(Math.max(bytes, Math.min(wanted, most)));
    before?.copy(grown, 0, 0, this.#filled);
    return grown;
  }
}
