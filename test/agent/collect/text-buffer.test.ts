import { expect, test } from 'vitest';
import * as fc from 'fast-check';
import { TextBuffer } from '../../../agent/collect/text-buffer.ts';

/** The shortest decimal that reads back as the same float32, found by trying. */
function shortest(value: number): string {
  for (let precision = 1; precision < 9; precision += 1) {
    const text = value.toPrecision(precision);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}

function written(value: number): string {
  const text = new TextBuffer(8);
  text.float32(value);
  return text.asciiText();
}

test('TextBuffer.float32() writes the shortest text that reads back as the same float32', () => {
  fc.assert(
    fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const text = written(value);
      expect(Object.is(Math.fround(Number(text)), value)).toBe(true);
      expect(Number(text)).toBe(Number(Object.is(value, -0) ? '-0' : shortest(value)));
    }),
    { numRuns: 20_000 },
  );
});

test('TextBuffer.float32() writes plain decimals between 1e-6 and 1e15', () => {
  const values = [0.1, 1e-6, 123_456.789, 16_777_216, 0.5, 1e14, -2.25, 100, 0, -0];
  expect(values.map((value) => written(Math.fround(value)))).toEqual([
    '0.1',
    '0.000001',
    '123456.79',
    '16777216',
    '0.5',
    '100000000000000',
    '-2.25',
    '100',
    '0',
    '-0',
  ]);
});

test('TextBuffer.integer() writes whole numbers of 32 bits', () => {
  const text = new TextBuffer(1);
  for (const value of [0, 7, -10, 2_147_483_647, -2_147_483_648]) {
    text.integer(value);
    text.byte(32);
  }
  expect(text.asciiText()).toBe('0 7 -10 2147483647 -2147483648 ');
});

test('TextBuffer keeps text of any language and grows', () => {
  const text = new TextBuffer(1);
  text.utf8('äöü€😀'.repeat(100));
  expect(text.view().toString()).toBe('äöü€😀'.repeat(100));
});
