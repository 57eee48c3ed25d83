/** One field of a protobuf message: a number is a varint, a text or bytes are length-delimited. */
export type Field = readonly [number: number, value: number | bigint | string | Uint8Array];

/** Writes a protobuf message. @see https://protobuf.dev/programming-guides/encoding/ */
export function message(...fields: readonly Field[]): Uint8Array {
  return Buffer.concat(
    fields.map(([number, value]) => {
      if (typeof value === 'number' || typeof value === 'bigint') {
        return Buffer.concat([varint(number * 8), varint(value)]);
      }
      const bytes = Buffer.from(value);
      return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
    }),
  );
}

/** Writes a base-128 number; a negative one as its 64-bit two's complement. */
export function varint(value: number | bigint): Uint8Array {
  const bytes: number[] = [];
  for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
    if (rest < 0x80n) return Uint8Array.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
}
