import { FerryError } from '../../../shared/errors.ts';
import type { TensorSpec } from '../../../shared/model/signature.ts';
import { bytesOf, elementBytes, elementsIn, isText, type Tensor, type TensorData } from '../../collect/tensor.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads the elements of a tensor from the binary tensor data extension: little-endian, row-major; strings each behind
 * their length in four bytes.
 * @throws {FerryError} REQUEST_INVALID when the bytes are no whole number of elements, or no UTF-8
 */
export function readBinary(bytes: Uint8Array, { name, type }: TensorSpec): TensorData {
  if (type === 'string') return readTexts(bytes, name);
  const size = elementBytes(type);
  if (bytes.byteLength % size !== 0) throw invalid(name, `${bytes.byteLength} bytes, a multiple of ${size} was wanted`);
  const data = elementsIn(type, bytes);
  if (type === 'bool' && (data as Uint8Array).some((value) => value > 1))
    throw invalid(name, 'a byte that is neither 0 nor 1');
  return data;
}

/** Gives the elements of a tensor as that extension has them. */
export function writeBinary({ data }: Tensor): Uint8Array {
  if (!isText(data)) return bytesOf(data);
  return Buffer.concat(
    data.flatMap((text) => {
      const bytes = Buffer.from(text);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.byteLength);
      return [length, bytes];
    }),
  );
}

function readTexts(bytes: Uint8Array, name: string): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const texts: string[] = [];
  for (let at = 0; at < bytes.byteLength;) {
    const start = at + 4;
    const end = start > bytes.byteLength ? Number.POSITIVE_INFINITY : start + view.getUint32(at, true);
    if (end > bytes.byteLength) throw invalid(name, 'a string that ends early');
    try {
      texts.push(utf8.decode(bytes.subarray(start, end)));
    } catch {
      throw invalid(name, 'a string that is not UTF-8');
    }
    at = end;
  }
  return texts;
}

function invalid(name: string, found: string): FerryError {
  return new FerryError('REQUEST_INVALID', `Cannot read the binary data of "${name}": it has ${found}`);
}
