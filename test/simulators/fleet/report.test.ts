import { expect, test } from 'vitest';
import { countRows, percentiles } from '../../../simulators/fleet/report.ts';

test('countRows() counts rows that are stored twice once, and those that are missing in between', () => {
  expect(countRows([])).toEqual({ rows: 0, gaps: 0 });
  expect(
    countRows([
      [11, 20],
      [1, 10],
      [11, 20],
    ]),
  ).toEqual({ rows: 20, gaps: 0 });
  expect(
    countRows([
      [1, 10],
      [5, 12],
      [16, 20],
    ]),
  ).toEqual({ rows: 17, gaps: 3 });
  expect(countRows([[3, 4]])).toEqual({ rows: 2, gaps: 2 });
});

test('percentiles() gives the nearest ranks, and nothing of nothing', () => {
  expect(percentiles([])).toBeUndefined();
  expect(percentiles([7])).toEqual({ p50: 7, p90: 7, p99: 7, max: 7 });
  expect(percentiles(Array.from({ length: 200 }, (_, index) => 200 - index))).toEqual({
    p50: 100,
    p90: 180,
    p99: 198,
    max: 200,
  });
});
