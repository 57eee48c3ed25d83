import { expect, test } from 'vitest';
import { Shares } from '../../../../agent/scoring/traffic/shares.ts';

test('Shares gives everybody what their weight says, exactly after a whole round and to within one before', () => {
  const shares = new Shares([
    { name: 'a', weight: 87.5 },
    { name: 'b', weight: 12.5 },
    { name: 'c', weight: 0 },
  ]);
  const counts = { a: 0, b: 0, c: 0 };
  for (let turn = 1; turn <= 800; turn += 1) {
    counts[shares.next()?.name as 'a' | 'b' | 'c'] += 1;
    expect(Math.abs(counts.b - turn * 0.125)).toBeLessThanOrEqual(1);
  }
  expect(counts).toEqual({ a: 700, b: 100, c: 0 });
});

test('Shares gives nobody a turn where nobody has a weight', () => {
  expect(new Shares([{ weight: 0 }]).next()).toBeUndefined();
});
