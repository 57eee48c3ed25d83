import type { Random } from '../../random.ts';

/** Gives bytes with a few of them changed, cut off, doubled or left out somewhere: mostly where a model's structure is, at both ends. */
export function damaged(whole: Uint8Array, random: Random): Uint8Array {
  let bytes = Buffer.from(whole);
  for (let change = random.below(4); change >= 0; change -= 1) {
    const edge = Math.min(bytes.length, 1000);
    const near = random.below(edge);
    const at = random.pick([near, bytes.length - 1 - near, random.below(bytes.length)]);
    const length = 1 + random.below(16);
    switch (random.below(6)) {
      case 0:
        bytes = bytes.subarray(0, at + 1);
        break;
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      default:
        bytes[at] = random.below(256);
    }
    if (bytes.length === 0) return bytes;
  }
  return bytes;
}
