import { expect, test } from 'vitest';
import { bytesText, fields, table } from '../../shared/text-layout.ts';

test('table() lines columns up under headings, without trailing space', () => {
  expect(
    table(
      ['name', 'size'],
      [
        ['digits', 26_900],
        ['a', 1],
      ],
    ),
  ).toBe('NAME   SIZE\ndigits 26900\na      1');
});

test('fields() leaves out what has no value and indents further lines', () => {
  expect(fields({ name: 'digits', gone: undefined, inputs: 'a\nb' })).toBe('name    digits\ninputs  a\n        b');
});

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [26_900, '27 kB'],
  [4_200_000_000, '4.2 GB'],
])('bytesText(%d) is %s', (bytes, text) => {
  expect(bytesText(bytes)).toBe(text);
});
