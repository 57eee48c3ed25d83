import { isText, type Tensor } from '../../collect/tensor.ts';
import type { TextBuffer } from '../../collect/text-buffer.ts';

const openBracket = 91;
const closeBracket = 93;
const comma = 44;

/**
 * Writes a tensor as nested JSON arrays, a scalar as itself. Floats are the shortest text that reads back as the same value of
 * the tensor's own type; NaN and the infinities, which JSON cannot say, are the strings "NaN", "Infinity" and "-Infinity".
 */
export function writeNested(text: TextBuffer, tensor: Tensor): void {
  if (tensor.shape.length === 0) writeElements(text, tensor, { from: 0, count: 1 });
  else writeLevel(text, tensor, { depth: 0, from: 0 });
}

/** Writes a tensor's elements as one flat JSON array. */
export function writeFlat(text: TextBuffer, tensor: Tensor): void {
  text.byte(openBracket);
  writeElements(text, tensor, { from: 0, count: tensor.data.length });
  text.byte(closeBracket);
}

/**
 * Writes an array of a dimension.
 * @returns the element behind it
 */
function writeLevel(text: TextBuffer, tensor: Tensor, { depth, from }: { depth: number; from: number }): number {
  const count = tensor.shape[depth] ?? 0;
  let next = from;
  text.byte(openBracket);
  if (depth === tensor.shape.length - 1) {
    writeElements(text, tensor, { from, count });
    next += count;
  } else {
    for (let index = 0; index < count; index += 1) {
      if (index > 0) text.byte(comma);
      next = writeLevel(text, tensor, { depth: depth + 1, from: next });
    }
  }
  text.byte(closeBracket);
  return next;
}

/** Writes elements with commas between them. Floats are what answers are full of: they are written in a loop of their own. */
function writeElements(text: TextBuffer, tensor: Tensor, { from, count }: { from: number; count: number }): void {
  const { type, data } = tensor;
  if (type === 'float32') {
    for (let at = from; at < from + count; at += 1) {
      if (at > from) text.byte(comma);
      float32(text, data[at] as number);
    }
    return;
  }
  for (let at = from; at < from + count; at += 1) {
    if (at > from) text.byte(comma);
    writeElement(text, tensor, at);
  }
}

function writeElement(text: TextBuffer, { type, data }: Tensor, at: number): void {
  if (isText(data)) text.utf8(JSON.stringify(data[at] ?? ''));
  else if (type === 'float16') finiteOrName(text, shortestFloat16(Number(data[at])));
  else if (type === 'float64') finiteOrName(text, Number(data[at]));
  else if (type === 'bool') text.ascii(data[at] === 0 ? 'false' : 'true');
  else text.ascii(String(data[at]));
}

function float32(text: TextBuffer, value: number): void {
  if (Number.isFinite(value)) text.float32(value);
  else text.ascii(`"${value}"`);
}

function finiteOrName(text: TextBuffer, value: number): void {
  if (Number.isFinite(value)) text.number(value);
  else text.ascii(`"${value}"`);
}

/** Gives the double of the fewest digits that is the same float16; 5 digits always are enough. */
function shortestFloat16(value: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  for (let precision = 1; precision < 5; precision += 1) {
    const rounded = Number(value.toPrecision(precision));
    if (Math.f16round(rounded) === value) return rounded;
  }
  return Number(value.toPrecision(5));
}
