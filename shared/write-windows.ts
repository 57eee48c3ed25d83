/**
 * Pieces are gathered to so many bytes, at a multiple of it in the file: each write has another thread woken up, which in a virtual machine takes
 * 35 us (100 MB in windows of 256 KiB take a third longer to be packed).
 */
const windowBytes = 1024 * 1024;
/** What the first window has until more comes: most of what is written is small, and memory that is let go has to be found. */
const firstBytes = 16 * 1024;
/** How many windows there are: some are written while the next one is filled. */
const windowsMax = 4;
/** What trickles in is written so often. */
const trickleMs = 100;

/** How much memory {@link WriteWindows} work in, in bytes. */
export const windowsBytes = windowsMax * windowBytes;

/** The settings of {@link WriteWindows}. */
export interface WriteWindowsOptions {
  /** Where in the file the first byte goes. */
  readonly position: number;
  /** {@link windowsBytes} to work in. @default the process's own, as much as is needed */
  readonly memory?: Uint8Array | undefined;
  /** Every write but the first and the last begins and ends at a multiple of so many bytes, in the file and in the memory. */
  readonly blockBytes: number;
  /** Writes bytes, which stay as they are until that is done. Called in order, again before it is done. */
  readonly write: (bytes: Uint8Array, position: number) => Promise<void>;
}

/**
 * Copies what comes in pieces to some windows of memory, and writes each while the next ones are filled. The memory is used again and again: it
 * stays in the processor's cache, and leaves no garbage.
 */
export class WriteWindows {
  readonly #options: WriteWindowsOptions;
  readonly #memory: Uint8Array[] = [];
  /** For each window, the writes out of it. */
  readonly #writing: Promise<unknown>[] = Array.from({ length: windowsMax }, async () => undefined);
  /** Up to where in the file all was taken, and all is written or under way. */
  #taken: number;
  #written: number;
  /** Up to where in the file there is room without waiting. */
  #roomEnd: number;
  readonly #trickling: NodeJS.Timeout;

  constructor(options: WriteWindowsOptions) {
    this.#options = options;
    this.#taken = options.position;
    this.#written = options.position;
    this.#roomEnd = options.position - (options.position % windowBytes) + windowBytes;
    this.#trickling = setInterval(() => this.#write(this.#taken - (this.#taken % options.blockBytes)), trickleMs);
  }

  /** Up to where in the file bytes were taken. */
  get position(): number {
    return this.#taken;
  }

  /**
   * Takes a piece, which may be used again when this comes back: at once where there is room.
   * @throws what writing before it did
   */
  add(piece: Uint8Array): Promise<void> | undefined {
    const taken = this.#take(piece);
    return taken === piece.byteLength ? undefined : this.#addRest(piece.subarray(taken));
  }

  /** Ends: writes what is left, and waits until all is written. @throws what writing did */
  async finish(): Promise<void> {
    clearInterval(this.#trickling);
    this.#write(this.#taken);
    await Promise.all(this.#writing);
  }

  /** Takes as much as there is room for, and gives how much that was. */
  #take(piece: Uint8Array): number {
    let at = 0;
    while (at < piece.byteLength && this.#taken < this.#roomEnd) {
      const filled = this.#taken % windowBytes;
      const memory = this.#memoryFrom(filled);
      const part = piece.subarray(at, at + memory.byteLength - filled);
      memory.set(part, filled);
      at += part.byteLength;
      this.#taken += part.byteLength;
      if (this.#taken % windowBytes === 0) this.#write(this.#taken);
    }
    return at;
  }

  async #addRest(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.byteLength; at += this.#take(piece.subarray(at))) {
      // What was in the next window a turn ago has to be written.
      await this.#writing[windowOf(this.#taken)];
      this.#roomEnd = this.#taken + windowBytes;
    }
  }

  #write(end: number): void {
    const [position, bytes] = [this.#written, end - this.#written];
    if (bytes <= 0) return;
    const window = windowOf(position);
    const place = position % windowBytes;
    const memory = this.#memory[window];
    if (memory === undefined) throw new Error('What was taken is in a window');
    const writing = this.#options.write(memory.subarray(place, place + bytes), position);
    const all = Promise.all([this.#writing[window], writing]);
    // Awaited when the window's turn comes again, or at the end.
    all.catch(() => undefined);
    this.#writing[window] = all;
    this.#written = end;
  }

  /** Gives the memory of the window that is filled, with room from there on. */
  #memoryFrom(filled: number): Uint8Array {
    const window = windowOf(this.#taken);
    const before = this.#memory[window];
    if (before !== undefined && before.byteLength > filled) return before;
    // What is in a smaller one is written out of it.
    this.#write(this.#taken);
    const place = window * windowBytes;
    const bytes = this.#taken === 0 ? firstBytes : windowBytes;
    const memory = this.#options.memory?.subarray(place, place + windowBytes) ?? Buffer.allocUnsafeSlow(bytes);
    this.#memory[window] = memory;
    return memory;
  }
}

function windowOf(position: number): number {
  return Math.floor(position / windowBytes) % windowsMax;
}
