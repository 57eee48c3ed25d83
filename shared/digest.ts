import { createHash } from 'node:crypto';

/** A content digest as OCI writes it: `sha256:` and 64 lower-case hexadecimal digits. */
export type Digest = `sha256:${string}`;

/** Says whether the text is a SHA-256 digest as OCI writes it. */
export function isDigest(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

/** Gives the digest of bytes that are in memory; a string counts as its UTF-8 bytes. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Takes bytes piece by piece and gives their digest and count at the end. */
export class Digester {
  readonly #hash = createHash('sha256');
  #bytes = 0;

  update(piece: Uint8Array): void {
    this.#hash.update(piece);
    this.#bytes += piece.byteLength;
  }

  /** Ends it: after this no more bytes are taken. */
  finish(): { readonly digest: Digest; readonly bytes: number } {
    return { digest: `sha256:${this.#hash.digest('hex')}`, bytes: this.#bytes };
  }
}
