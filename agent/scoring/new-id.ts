import { randomFillSync } from 'node:crypto';

/** Ids that are made together, by one call for random bytes. */
const idsAtOnce = 128;
const bytesOfId = 16;
const idLength = 36;

const digits = '0123456789abcdef';
/** The two digits of each byte. */
const highDigit = Uint8Array.from({ length: 256 }, (_, byte) => digits.charCodeAt(byte >> 4));
const lowDigit = Uint8Array.from({ length: 256 }, (_, byte) => digits.charCodeAt(byte & 15));

const random = Buffer.alloc(idsAtOnce * bytesOfId);
/** The ids as text; the hyphens stay where they are (RFC 9562, 4: five groups). */
const written = Buffer.alloc(idsAtOnce * idLength, '-');
let next = written.length;

/**
 * Gives a random UUID (RFC 9562, version 4), as a string that lies in memory in one piece: Node's own is put together of twenty, and costs again
 * wherever it is written.
 */
export function newId(): string {
  if (next === written.length) {
    writeIds();
    next = 0;
  }
  const id = written.toString('latin1', next, next + idLength);
  next += idLength;
  return id;
}

function writeIds(): void {
  randomFillSync(random);
  let at = 0;
  for (let index = 0; index < random.length; index += 1) {
    const place = index % bytesOfId;
    let byte = random[index] ?? 0;
    // RFC 9562, 4.1 and 4.2: the variant, and the version.
    if (place === 6) byte = 0x40 | (byte & 0x0f);
    else if (place === 8) byte = 0x80 | (byte & 0x3f);
    if (place === 4 || place === 6 || place === 8 || place === 10) at += 1;
    written[at++] = highDigit[byte] ?? 0;
    written[at++] = lowDigit[byte] ?? 0;
  }
}
