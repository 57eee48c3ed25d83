/**
 * Gives 32 bits that follow from the id alone, evenly spread: every designation, process and replica comes to the same decision
 * about a request. Different seeds give independent bits.
 */
export function correlationHash(correlationId: string, seed: number): number {
  // FNV-1a over UTF-16 units, then the finish of MurmurHash3: FNV alone leaves the high bits of short ids alike.
  let hash = 0x81_1c_9d_c5 ^ seed;
  for (let at = 0; at < correlationId.length; at += 1) {
    hash = Math.imul(hash ^ correlationId.charCodeAt(at), 0x01_00_01_93);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Says whether a request is in the sample. */
export function isSampled(correlationId: string, rate: number): boolean {
  return rate >= 1 || correlationHash(correlationId, 1) < rate * 2 ** 32;
}

/** Says whether a request stays when only one in so many does; a request that stays in a thinner sample stays in a denser one. */
export function isKept(correlationId: string, oneIn: number): boolean {
  return correlationHash(correlationId, 2) % oneIn === 0;
}
