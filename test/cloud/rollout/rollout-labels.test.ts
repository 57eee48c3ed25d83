import { expect, test } from 'vitest';
import { readRolloutLabels, rolloutLabels } from '../../../cloud/rollout/rollout-labels.ts';
import { type PastRollout, rolloutHistory } from '../../../cloud/rollout/rollout-history.ts';
import { checkRolloutRequest } from '../../../cloud/rollout/rollout-request.ts';
import { firstState } from '../../../cloud/rollout/rollout-state.ts';

/** What IoT Hub allows in a label's value. @see https://learn.microsoft.com/javascript/api/azure-iothub/configuration */
const allowed = /^[A-Za-z0-9\-:.+%_#*?!(),=@;']{0,128}$/;

function rollout(devices: readonly string[]) {
  const request = checkRolloutRequest({
    service: 'digits',
    image: 'digits:2',
    reference: `localhost:5000/digits@sha256:${'ab'.repeat(32)}`,
    scope: 'tags.site = \'Zürich "1"\'',
    stages: [{ select: { devices } }, { select: { percent: 100 } }],
    gate: { metrics: { hot: { query: 'SELECT * FROM devices WHERE tags.hot = true', max: 3 } } },
  });
  return { request, state: { ...firstState(1_800_000_000_000), reason: 'exit code 1: "é"', failed: ['gw-1'] } };
}

test('rolloutLabels() writes what readRolloutLabels() reads, in characters that a hub allows', () => {
  const written = rollout(['gw-1', 'gw-2']);
  const labels = rolloutLabels(written);
  for (const [name, value] of Object.entries(labels))
    expect([name, value].every((text) => allowed.test(text))).toBe(true);
  expect(readRolloutLabels('x', labels)).toEqual(written);
  expect(labels).toMatchObject({ service: 'digits', phase: 'rolling', stage: '1-of-2' });
});

test('rolloutLabels() refuses what does not fit', () => {
  const many = Array.from({ length: 5 }, (_, stage) => ({
    name: `s${stage}`,
    select: { devices: Array.from({ length: 50 }, () => `${crypto.randomUUID()}-${crypto.randomUUID()}`) },
  }));
  const { request, state } = rollout(['a']);
  const large = {
    ...request,
    stages: [...request.stages, ...checkRolloutRequest({ ...request, stages: many }).stages],
  };
  expect(() => rolloutLabels({ request: large, state })).toThrow('was wanted');
});

test('rolloutLabels() leaves the oldest of before out where there is no room for all, and never the rollout itself', () => {
  const { request, state } = rollout(Array.from({ length: 50 }, () => `${crypto.randomUUID()}-${crypto.randomUUID()}`));
  const past = (at: number) => ({
    image: `digits:${at}`,
    phase: 'halted' as const,
    stage: 'canary',
    startedMs: at,
    endedMs: at + 1,
    // Nothing that could be packed well.
    reason: Array.from({ length: 30 }, () => crypto.randomUUID()).join(),
    failed: [],
    touched: 1,
  });
  const written = { request, state: { ...state, history: [past(5), past(4), past(3), past(2)] } };
  const read = readRolloutLabels('x', rolloutLabels(written));
  expect(read?.request).toEqual(request);
  const kept = read?.state.history.map(({ image }) => image) ?? [];
  expect(kept.length).toBeLessThan(4);
  expect(['digits:5', 'digits:4', 'digits:3'].slice(0, kept.length)).toEqual(kept);
});

test('rolloutHistory() keeps each of before once, the latest five, and shortens what is long', () => {
  const past = (at: number): PastRollout => ({
    image: 'digits:1',
    phase: 'halted',
    stage: 'canary',
    startedMs: at,
    endedMs: at,
    reason: `one\n  two ${'x'.repeat(1000)}`,
    failed: ['a', 'b', 'c', 'd'],
    touched: 4,
  });
  const kept = rolloutHistory([past(1), past(9), past(9), past(3), past(2), past(5), past(4)]);
  expect(kept.map(({ startedMs }) => startedMs)).toEqual([9, 5, 4, 3, 2]);
  expect(kept[0]).toMatchObject({ reason: `one two ${'x'.repeat(291)}…`, failed: ['a', 'b', 'c'] });
});

test('readRolloutLabels() finds none in other labels, and says when one is damaged', () => {
  expect(readRolloutLabels('x', { createdBy: 'modelferry' })).toBeUndefined();
  const labels = rolloutLabels(rollout(['gw-1']));
  expect(() => readRolloutLabels('x', { ...labels, 'rollout-00': 'AAAA' })).toThrow(
    'labels of its deployment are damaged',
  );
});
