import { expect, test } from 'vitest';
import { applyContent, assign, assignPaths } from '../../../../simulators/hub/configurations/assign.ts';
import type { Configuration, TwinContent } from '../../../../simulators/hub/configurations/configuration.ts';

let sequence = 0;

function deployment(id: string, priority: number, modulesContent: Record<string, TwinContent>): Configuration {
  sequence += 1;
  const times = { createdTimeUtc: '', lastUpdatedTimeUtc: '' };
  return {
    id,
    schemaVersion: '1.0',
    labels: {},
    content: { modulesContent },
    targetCondition: '*',
    priority,
    etag: '',
    metrics: {},
    sequence,
    ...times,
  };
}

const base = (id: string, priority: number, desired = {}) =>
  deployment(id, priority, { $edgeAgent: { 'properties.desired': { schemaVersion: '1.1', modules: {}, ...desired } } });

test('assign() applies the base of highest priority, and targets the others', () => {
  const { desired, status } = assign([base('low', 1), base('high', 5, { mark: 1 }), base('middle', 3)]);
  expect(desired?.get('$edgeAgent')).toMatchObject({ mark: 1 });
  expect(status).toEqual({ low: { status: 'Targeted' }, middle: { status: 'Targeted' }, high: { status: 'Applied' } });
});

test('assign() takes the later of two bases of one priority', () => {
  expect(assign([base('first', 1), base('second', 1)]).status).toMatchObject({ second: { status: 'Applied' } });
});

test('assign() lays layers of higher priority over the base, from low to high', () => {
  const layer = (id: string, priority: number, image: string) =>
    deployment(id, priority, { $edgeAgent: { 'properties.desired.modules.m': { image } } });
  const { desired, status } = assign([
    layer('top', 20, 'c'),
    base('base', 10),
    layer('under', 10, 'a'),
    layer('over', 11, 'b'),
  ]);
  expect(desired?.get('$edgeAgent')).toEqual({ schemaVersion: '1.1', modules: { m: { image: 'c' } } });
  expect(status).toEqual({
    base: { status: 'Applied' },
    over: { status: 'Applied' },
    top: { status: 'Applied' },
    under: { status: 'Targeted' },
  });
});

test('assign() lets a layer replace all of a module, extend a part of it, and remove from it', () => {
  const first = deployment('first', 1, {
    $edgeAgent: { 'properties.desired': {} },
    m: { 'properties.desired': { a: 1, b: { c: 1, d: 1 } } },
  });
  const second = deployment('second', 2, {
    $edgeAgent: { 'properties.desired.x': 1 },
    m: { 'properties.desired.b.d': null, 'properties.desired.e': 2 },
  });
  expect(assign([first, second]).desired?.get('m')).toEqual({ a: 1, b: { c: 1 }, e: 2 });
  const third = deployment('third', 3, {
    $edgeAgent: { 'properties.desired.x': 1 },
    m: { 'properties.desired': { only: true } },
  });
  expect(assign([first, second, third]).desired?.get('m')).toEqual({ only: true });
});

test('assign() counts a layer with an empty $edgeAgent as targeted, though what it brings is there', () => {
  const layer = deployment('layer', 2, { $edgeAgent: {}, m: { 'properties.desired': { a: 1 } } });
  const { desired, status } = assign([base('base', 1), layer]);
  expect(desired?.get('m')).toEqual({ a: 1 });
  expect(status).toMatchObject({ layer: { status: 'Targeted' } });
});

test('assign() changes nothing without a base', () => {
  const layer = deployment('layer', 2, { $edgeAgent: { 'properties.desired.modules.m': {} } });
  expect(assign([layer])).toEqual({ desired: undefined, status: { layer: { status: 'Targeted' } } });
});

test('assignPaths() gives a path to the highest priority, and keeps what nobody sets', () => {
  const low = base('low', 1);
  const high = base('high', 2);
  const { desired, status } = assignPaths(
    [
      { configuration: high, paths: { 'properties.desired.x': 2 } },
      { configuration: low, paths: { 'properties.desired.x': 1, 'properties.desired.y': 1 } },
    ],
    { own: true },
  );
  expect(desired).toEqual({ own: true, x: 2, y: 1 });
  expect(status).toEqual({ low: { status: 'Targeted' }, high: { status: 'Applied' } });
});

test('applyContent() does not change what it is given', () => {
  const before = { a: { b: 1 } };
  applyContent(before, { 'properties.desired.a.b': 2, 'properties.desired.a.c': 3 });
  expect(before).toEqual({ a: { b: 1 } });
});
