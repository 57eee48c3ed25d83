import { FerryError } from '../../shared/errors.ts';

/** Bytes of requests that a server holds at a time: many large ones at once must not use up the memory. */
export class ByteBudget {
  readonly #bytesMax: number;
  #held = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes that are held now. */
  get held(): number {
    return this.#held;
  }

  /**
   * Takes room for bytes, which is to be given back also where this fails.
   * @throws {FerryError} OVERLOADED when there is none left
   */
  take(bytes: number): void {
    this.#held += bytes;
    if (this.#held <= this.#bytesMax) return;
    throw new FerryError(
      'OVERLOADED',
      `Cannot take the request now: ${this.#held} bytes of requests are held, at most ${this.#bytesMax} were wanted`,
    );
  }

  /** Gives room back. */
  give(bytes: number): void {
    this.#held -= bytes;
  }
}
