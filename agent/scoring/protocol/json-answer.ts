import type { Tensor } from '../../collect/tensor.ts';
import type { TextBuffer } from '../../collect/text-buffer.ts';

/**
 * Copies what was written: as a string where that is surely ASCII, since a string leaves together with the headers.
 * @param texts that stand in it beside the tensors
 */
export function jsonBody(
  written: TextBuffer,
  tensors: readonly Tensor[],
  texts: readonly string[] = [],
): string | Uint8Array {
  const ascii = tensors.every(({ name, type }) => type !== 'string' && isAscii(name)) && texts.every(isAscii);
  return ascii ? written.asciiText() : Uint8Array.from(written.view());
}

function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}
