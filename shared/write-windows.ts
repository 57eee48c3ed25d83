/**
 * Bytes are gathered to so many, at a multiple of it in the file: each write has another thread woken up, which in a virtual machine takes
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

/** Bytes that are read to where they are wanted. */
export interface PartReader {
  /** Reads what comes next into the target; gives how many bytes that were, 0 at the end. One such call at a time. */
  read(target: Uint8Array): Promise<number>;
}

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
 * Brings what comes to some windows of memory, and writes each while the next ones are filled. The memory is used again and again: it stays in
 * the processor's cache, and leaves no garbage.
 */
export class WriteWindows {
  readonly #options: WriteWindowsOptions;
  readonly #memory: Uint8Array[] = [];
  /** For each window, the writes out of it; and how many of them are under way. */
  readonly #writing: Promise<unknown>[] = Array.from({ length: windowsMax }, async () => undefined);
  readonly #pending: number[] = Array.from({ length: windowsMax }, () => 0);
  #hasFailed = false;
  /** Up to where in the file all was taken, and all is written or under way. */
  #taken: number;
  #written: number;
  /** Up to where in the file there is room. */
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

  /**
   * Takes what is read, straight into the windows: the next bytes are read while those before are written.
   * @param options.upTo the place in the file from which on no more is taken @default all is
   * @returns whether the reader is at its end
   * @throws what reading, the signal, or writing did
   */
  async addFrom(
    reader: PartReader,
    { upTo = Number.POSITIVE_INFINITY, signal }: { readonly upTo?: number; readonly signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    for (let reading = this.#readNext(reader); ;) {
      const bytes = await reading;
      if (bytes === 0) return true;
      signal?.throwIfAborted();
      this.#taken += bytes;
      const isEnough = this.#taken >= upTo;
      if (!isEnough) reading = this.#readNext(reader);
      // Awaited above, unless writing fails before.
      reading.catch(() => undefined);
      if (this.#taken % windowBytes === 0) this.#write(this.#taken);
      if (isEnough) return false;
    }
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
    while (at < piece.byteLength && this.#hasRoom()) {
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
    for (let at = 0; at < piece.byteLength; at += this.#take(piece.subarray(at))) await this.#makeRoom();
  }

  async #readNext(reader: PartReader): Promise<number> {
    if (!this.#hasRoom()) await this.#makeRoom();
    const filled = this.#taken % windowBytes;
    return await reader.read(this.#memoryFrom(filled).subarray(filled));
  }

  /** Says whether there is room, in this window or in the next one. */
  #hasRoom(): boolean {
    if (this.#taken === this.#roomEnd && !this.#hasFailed && this.#pending[windowOf(this.#taken)] === 0) {
      this.#roomEnd += windowBytes;
    }
    return this.#taken < this.#roomEnd;
  }

  /** Waits until what was in the next window a turn ago is written. */
  async #makeRoom(): Promise<void> {
    await this.#writing[windowOf(this.#taken)];
    // What failed elsewhere is not to be found out at the end only.
    if (this.#hasFailed) await Promise.all(this.#writing);
    this.#roomEnd = this.#taken + windowBytes;
  }

  #write(end: number): void {
    const [position, bytes] = [this.#written, end - this.#written];
    if (bytes <= 0) return;
    this.#written = end;
    const window = windowOf(position);
    const place = position % windowBytes;
    const memory = this.#memory[window];
    if (memory === undefined) throw new Error('What was taken is in a window');
    const all = this.#writeOut(window, memory.subarray(place, place + bytes), position);
    // Awaited when the window's turn comes again, or at the end.
    all.catch(() => undefined);
    this.#writing[window] = all;
  }

  async #writeOut(window: number, bytes: Uint8Array, position: number): Promise<void> {
    const before = this.#writing[window];
    this.#pending[window] = (this.#pending[window] ?? 0) + 1;
    try {
      await Promise.all([this.#options.write(bytes, position), before]);
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    } finally {
      this.#pending[window] = (this.#pending[window] ?? 0) - 1;
    }
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
