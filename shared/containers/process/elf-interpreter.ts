import { open } from 'node:fs/promises';
import { FerryError } from '../../errors.ts';

/** Longest loader path that is believed, in bytes; Linux has PATH_MAX. */
const interpreterBytesMax = 4096;
/** Most program headers that are looked at; real programs have about 13. */
const headersMax = 128;
const programTypeInterpreter = 3;

/**
 * Gives the dynamic loader that an ELF program asks for (its PT_INTERP, such as `/lib64/ld-linux-x86-64.so.2`), or nothing
 * where it is linked statically.
 * @throws {FerryError} IMAGE_INVALID when the file is not a 64-bit little-endian ELF program
 * @see https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html
 */
export async function elfInterpreter(path: string): Promise<string | undefined> {
  await using file = await open(path, 'r');
  const read = async (offset: number, length: number): Promise<Buffer> => {
    const bytes = Buffer.alloc(length);
    const { bytesRead } = await file.read(bytes, 0, length, offset);
    if (bytesRead < length) throw new FerryError('IMAGE_INVALID', `Cannot read the program "${path}": it is cut short`);
    return bytes;
  };
  const header = await read(0, 64).catch(() => Buffer.alloc(64));
  // e_ident: magic, then class 2 (64 bit) and data 1 (little-endian).
  if (!header.subarray(0, 6).equals(Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]))) {
    throw new FerryError(
      'IMAGE_INVALID',
      `Cannot run "${path}": it is no ELF program, a 64-bit little-endian one was wanted`,
    );
  }
  const tableOffset = Number(header.readBigUInt64LE(32));
  const entryBytes = header.readUInt16LE(54);
  const count = Math.min(header.readUInt16LE(56), headersMax);
  for (let index = 0; index < count; index += 1) {
    const entry = await read(tableOffset + index * entryBytes, 56);
    if (entry.readUInt32LE(0) !== programTypeInterpreter) continue;
    const length = Math.min(Number(entry.readBigUInt64LE(32)), interpreterBytesMax);
    const text = await read(Number(entry.readBigUInt64LE(8)), length);
    return text.toString('utf8').replace(/\0.*$/s, '');
  }
  return undefined;
}
