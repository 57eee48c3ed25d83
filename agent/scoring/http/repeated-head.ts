import type { RequestHead } from './request-head.ts';

/**
 * Remembers the last head of a connection: most clients send the same one with every request, and to compare it takes a tenth of the time that
 * reading it again does.
 */
export class RepeatedHead {
  /** The last head with the empty line behind it, once it came twice in one length. */
  #bytes: Buffer | undefined;
  #head: RequestHead | undefined;
  #lastBytes = 0;

  /** Gives the head that stands here, where it is the remembered one to the byte, and how long it is with its empty line. */
  at(input: Buffer, start: number): { readonly head: RequestHead; readonly bytes: number } | undefined {
    const bytes = this.#bytes;
    const head = this.#head;
    if (bytes === undefined || head === undefined) return undefined;
    const end = start + bytes.byteLength;
    if (end > input.byteLength || bytes.compare(input, start, end) !== 0) return undefined;
    return { head, bytes: bytes.byteLength };
  }

  /**
   * Takes note of a head that was read.
   * @param end behind its empty line
   */
  keep(head: RequestHead, input: Buffer, { start, end }: { readonly start: number; readonly end: number }): void {
    const isWorthIt = end - start === this.#lastBytes;
    this.#lastBytes = end - start;
    this.#head = isWorthIt ? head : undefined;
    this.#bytes = isWorthIt ? Buffer.from(input.subarray(start, end)) : undefined;
  }
}
