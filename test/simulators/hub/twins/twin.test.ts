import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { JsonObject } from '../../../../simulators/hub/json.ts';
import {
  mergePatch,
  newTwin,
  patchBetween,
  patchSection,
  replaceSection,
  twinEtag,
} from '../../../../simulators/hub/twins/twin.ts';

const stamp = { time: '2026-01-02T03:04:05.000Z', withVersion: true };

test('patchSection() merges objects, replaces arrays, removes what is null, and counts up', () => {
  const first = patchSection(newTwin.desired, { a: { b: 1, c: 2 }, list: [1, 2, 3] }, stamp);
  const second = patchSection(first, { a: { c: null, d: 4 }, list: ['x'] }, { ...stamp, time: 'later' });
  expect(second.value).toEqual({ a: { b: 1, d: 4 }, list: ['x'] });
  expect(second.version).toBe(3);
  expect(second.metadata).toEqual({
    $lastUpdated: 'later',
    $lastUpdatedVersion: 3,
    a: {
      $lastUpdated: 'later',
      $lastUpdatedVersion: 3,
      b: { $lastUpdated: stamp.time, $lastUpdatedVersion: 2 },
      d: { $lastUpdated: 'later', $lastUpdatedVersion: 3 },
    },
    list: { $lastUpdated: 'later', $lastUpdatedVersion: 3 },
  });
});

test('patchSection() counts up though nothing changed', () => {
  const first = patchSection(newTwin.desired, { a: 1 }, stamp);
  expect(patchSection(first, { a: 1 }, stamp).version).toBe(3);
});

test('replaceSection() drops what is not named', () => {
  const first = patchSection(newTwin.reported, { a: 1, b: 2 }, { ...stamp, withVersion: false });
  const second = replaceSection(first, { b: 3 }, { ...stamp, withVersion: false });
  expect(second).toEqual({
    value: { b: 3 },
    metadata: { $lastUpdated: stamp.time, b: { $lastUpdated: stamp.time } },
    version: 3,
  });
});

test('a name that JavaScript knows of its own is a name like others', () => {
  const patch = JSON.parse('{"__proto__":{"polluted":true},"constructor":{"x":1}}') as JsonObject;
  const merged = mergePatch({}, patch);
  expect(JSON.stringify(merged)).toBe('{"__proto__":{"polluted":true},"constructor":{"x":1}}');
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
});

test('twinEtag() is base64 of eight bytes', () => {
  expect(twinEtag(newTwin)).toBe('AAAAAAAAAAE=');
});

test('patchBetween() gives the patch that mergePatch() needs to come from one to the other', () => {
  const leaf = fc.oneof(fc.integer(), fc.string(), fc.boolean());
  const { tree } = fc.letrec<{ tree: JsonObject }>((tie) => ({
    tree: fc.dictionary(
      fc.constantFrom('a', 'b', 'c', 'd'),
      fc.oneof({ depthSize: 'small' }, leaf, tie('tree'), fc.array(leaf)),
    ),
  }));
  const property = fc.property(tree, tree, (before, after) => {
    const patch = patchBetween(before, after);
    expect(mergePatch(before, patch ?? {})).toEqual({ ...after });
    expect(patchBetween(after, after)).toBeUndefined();
  });
  fc.assert(property, { numRuns: 500 });
});
