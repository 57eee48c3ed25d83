import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { JsonCursor } from '../../../agent/scoring/json/json-cursor.ts';
import { readNested } from '../../../agent/scoring/json/tensor-reader.ts';

function cursorOn(text: string): JsonCursor {
  return new JsonCursor(Buffer.from(text));
}

/** Gives what a reader gives, or nothing where it refuses. */
function attempt(read: () => unknown): { value: unknown } | undefined {
  try {
    return { value: read() };
  } catch {
    return undefined;
  }
}

test('number() reads every number as JSON.parse does', () => {
  const numberText = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
    fc.stringMatching(/^-?(0|[1-9]\d{0,25})(\.\d{1,25})?([eE][+-]?\d{1,3})?$/),
  );
  fc.assert(
    fc.property(numberText, (text) => {
      expect(Object.is(cursorOn(text).number(), JSON.parse(text))).toBe(true);
    }),
    { numRuns: 20_000 },
  );
});

test('value() takes exactly the texts that JSON.parse takes', () => {
  const almostJson = fc
    .tuple(
      fc.json({ maxDepth: 3 }),
      fc.nat(),
      fc.constantFrom('', ',', '"', ']', '}', '{', '0', '-', '.', 'e', '\\', 'null', '\u0001'),
    )
    .map(
      ([text, at, piece]) =>
        text.slice(0, at % (text.length + 1)) + piece + text.slice((at % (text.length + 1)) + (at % 2)),
    );
  fc.assert(
    fc.property(almostJson, (text) => {
      const read = (): unknown => {
        const cursor = cursorOn(text);
        const value = cursor.value();
        cursor.end();
        return value;
      };
      expect(attempt(read)).toEqual(attempt(() => JSON.parse(text) as unknown));
    }),
    { numRuns: 5000 },
  );
});

test('readNested() gives shape and elements of arrays in each other', () => {
  expect(readNested(cursorOn('[[1,2,3],[4,5,6]]'), 'int32', 1)).toEqual({
    shape: [2, 3],
    data: Int32Array.of(1, 2, 3, 4, 5, 6),
  });
  expect(readNested(cursorOn(' [ [ ] , [ ] ] '), 'float32', 1)).toEqual({ shape: [2, 0], data: new Float32Array(0) });
  expect(readNested(cursorOn('7'), 'int64', 1)).toEqual({ shape: [], data: BigInt64Array.of(7n) });
});

test.each([
  ['[1,[2]]', 'float32'],
  ['[[1],2]', 'float32'],
  ['[[1],[[2]]]', 'float32'],
  ['[1.5]', 'int32'],
  ['[300]', 'uint8'],
  ['[-1]', 'uint64'],
  ['[9223372036854775808]', 'int64'],
  ['[2]', 'bool'],
  ['[null]', 'float32'],
  ['["nan"]', 'float64'],
  ['[1,]', 'float32'],
  ['[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]', 'float32'],
] as const)('readNested() refuses %s as %s', (text, type) => {
  expect(() => readNested(cursorOn(text), type, 1)).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }));
});
