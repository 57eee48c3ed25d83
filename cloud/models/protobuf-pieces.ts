import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { ByteRange } from './protobuf-file.ts';
import { varint } from './protobuf-message.ts';

/** A part of a message that is written anew: a range of the file that it is made of, or bytes. */
export type Piece = ByteRange | Uint8Array;

/** Makes a length-delimited field of pieces: puts its key and length before them. */
export function delimited(number: number, pieces: readonly Piece[]): readonly Piece[] {
  const bytes = pieces.reduce((sum, piece) => sum + bytesOf(piece), 0);
  return [Buffer.concat([varint(number * 8 + 2), varint(bytes)]), ...pieces];
}

/** Gives how many bytes a piece has. */
export function bytesOf(piece: Piece): number {
  return piece instanceof Uint8Array ? piece.byteLength : piece.end - piece.start;
}

/** Writes a file of pieces, some of which are ranges of another file; these are streamed. */
export async function writePieces(from: string, to: string, pieces: readonly Piece[]): Promise<void> {
  await using target = await open(to, 'wx');
  for (const piece of joined(pieces)) {
    if (piece instanceof Uint8Array) await target.writeFile(piece);
    else await target.writeFile(createReadStream(from, { start: piece.start, end: piece.end - 1 }));
  }
}

/** Puts neighbouring ranges together: a graph of many small nodes is else one read each. */
export function joined(pieces: readonly Piece[]): readonly Piece[] {
  const together: Piece[] = [];
  for (const piece of pieces) {
    const before = together.at(-1);
    const isNext =
      before !== undefined &&
      !(before instanceof Uint8Array || piece instanceof Uint8Array) &&
      before.end === piece.start;
    if (isNext) together.splice(-1, 1, { start: before.start, end: piece.end });
    else if (bytesOf(piece) > 0) together.push(piece);
  }
  return together;
}
