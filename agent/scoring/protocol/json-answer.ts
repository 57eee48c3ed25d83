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
  let ascii = texts.every(isAscii);
  for (const { name, type } of tensors) ascii &&= type !== 'string' && isAscii(name);
  return ascii ? written.asciiText() : Uint8Array.from(written.view());
}

/** Says whether a text is ASCII without control characters. */
function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit < 32 || unit > 126) return false;
  }
  return true;
}
