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
  const write = elementWriter(text, tensor);
  let next = 0;
  const level = (depth: number): void => {
    const count = tensor.shape[depth];
    if (count === undefined) {
      write(next++);
      return;
    }
    text.byte(openBracket);
    for (let index = 0; index < count; index += 1) {
      if (index > 0) text.byte(comma);
      level(depth + 1);
    }
    text.byte(closeBracket);
  };
  level(0);
}

/** Writes a tensor's elements as one flat JSON array. */
export function writeFlat(text: TextBuffer, tensor: Tensor): void {
  const write = elementWriter(text, tensor);
  text.byte(openBracket);
  for (let index = 0; index < tensor.data.length; index += 1) {
    if (index > 0) text.byte(comma);
    write(index);
  }
  text.byte(closeBracket);
}

function elementWriter(text: TextBuffer, { type, data }: Tensor): (index: number) => void {
  if (isText(data)) return (index) => text.utf8(JSON.stringify(data[index] ?? ''));
  if (type === 'float32') return (index) => float32(text, Number(data[index]));
  if (type === 'float16') return (index) => finiteOrName(text, shortestFloat16(Number(data[index])));
  if (type === 'float64') return (index) => finiteOrName(text, Number(data[index]));
  if (type === 'bool') return (index) => text.ascii(data[index] === 0 ? 'false' : 'true');
  return (index) => text.ascii(String(data[index]));
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
