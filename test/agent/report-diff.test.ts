import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { reportDiff } from '../../agent/report-diff.ts';
import type { Json, JsonObject } from '../../agent/report.ts';

test('reportDiff() gives nothing for equal states', () => {
  expect(reportDiff({ a: { b: [1, { c: 2 }] } }, { a: { b: [1, { c: 2 }] } })).toBeUndefined();
});

test('reportDiff() gives only what is new, different or gone, and arrays whole', () => {
  const before = { same: 1, gone: { x: 1 }, list: [1, 2], deep: { same: 1, other: 1 } };
  const after = { same: 1, list: [1], deep: { same: 1, other: 2, more: 3 } };
  expect(reportDiff(before, after)).toEqual({ gone: null, list: [1], deep: { other: 2, more: 3 } });
});

test('reportDiff() gives a patch that makes the one state the other, as the hub merges it', () => {
  const value = fc.letrec<{ json: Json }>((tie) => ({
    json: fc.oneof(
      { maxDepth: 3 },
      fc.integer({ min: 0, max: 3 }),
      fc.constantFrom('a', 'b'),
      fc.array(fc.integer({ max: 2 }), { maxLength: 2 }),
      fc.dictionary(fc.constantFrom('x', 'y', 'z'), tie('json'), { maxKeys: 3, noNullPrototype: true }),
    ),
  })).json;
  const state = fc.dictionary(fc.constantFrom('p', 'q', 'r'), value, { maxKeys: 3, noNullPrototype: true });
  fc.assert(
    fc.property(state, state, (before, after) => {
      expect(merged(before, reportDiff(before, after) ?? {})).toEqual(after);
    }),
  );
});

/** Merges as IoT Hub merges a patch into a twin: null takes away, objects go deeper, all else replaces. */
function merged(before: Json | undefined, patch: JsonObject): JsonObject {
  const base = typeof before === 'object' && before !== null && !Array.isArray(before) ? { ...before } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete base[name];
    else if (typeof value === 'object' && !Array.isArray(value)) base[name] = merged(base[name], value);
    else base[name] = value;
  }
  return base;
}
