import { type Digest, Digester } from '../digest.ts';
import { FerryError } from '../errors.ts';

/** What bytes are expected to be. */
export interface Expected {
  readonly digest: Digest;
  /** In bytes. */
  readonly size: number;
}

/**
 * Passes bytes on and fails when they are not what was expected: as soon as there are too many, else at the end. Who reads
 * must not use what came before the end has come.
 * @param from whose bytes they are, for the message: `the registry "localhost:5000"`
 * @throws {FerryError} DIGEST_MISMATCH when size or digest differ
 */
export async function* verified(
  source: AsyncIterable<Uint8Array>,
  expected: Expected,
  from: string,
): AsyncGenerator<Uint8Array, void, void> {
  const digester = new Digester();
  let bytes = 0;
  for await (const piece of source) {
    bytes += piece.byteLength;
    if (bytes > expected.size) throw mismatch(expected, from, `more than ${expected.size} bytes`);
    digester.update(piece);
    yield piece;
  }
  checkExpected(digester.finish(), expected, from);
}

/**
 * Compares what bytes are with what they were expected to be.
 * @throws {FerryError} DIGEST_MISMATCH when size or digest differ
 */
export function checkExpected(actual: { digest: Digest; bytes: number }, expected: Expected, from: string): void {
  if (actual.bytes !== expected.size) throw mismatch(expected, from, `${actual.bytes} bytes`);
  if (actual.digest !== expected.digest) throw mismatch(expected, from, `bytes of digest "${actual.digest}"`);
}

function mismatch(expected: Expected, from: string, what: string): FerryError {
  return new FerryError(
    'DIGEST_MISMATCH',
    `Cannot use "${expected.digest}" of ${from}: it gave ${what}, ${expected.size} bytes of that digest were wanted`,
  );
}
