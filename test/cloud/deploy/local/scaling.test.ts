import { expect, test } from 'vitest';
import { Scaling } from '../../../../cloud/deploy/local/host/scaling.ts';

const range = { least: 1, most: 6, targetUtilization: 70, refreshSeconds: 1, downSeconds: 60 };

/** Gives how many replicas are wanted after each second of a load. */
function wantedOver(loads: readonly number[], scaling = new Scaling(1)): number[] {
  return loads.map((load, second) => scaling.look({ atMs: second * 1000, load }, range, 10));
}

test('Scaling adds replicas within two looks, to what the load needs, and no more than the most', () => {
  expect(wantedOver([0, 0, 28, 28])).toEqual([1, 1, 2, 4]);
  expect(wantedOver([0, 500, 500])).toEqual([1, 6, 6]);
});

test('Scaling takes replicas away only after the load was low for all of the time', () => {
  const loads = [
    ...Array.from({ length: 5 }, () => 28),
    ...Array.from({ length: 200 }, (_, second) => (second === 40 ? 28 : 1)),
  ];
  const wanted = wantedOver(loads);
  expect(wanted[4]).toBe(4);
  // The busy moment at 45 s counts for 60 s more.
  expect(wanted[100]).toBe(4);
  expect(wanted[110]).toBe(1);
  expect(Math.min(...wanted)).toBe(1);
});

test('Scaling stays within least and most when they change', () => {
  const scaling = new Scaling(1);
  expect(scaling.look({ atMs: 0, load: 0 }, { ...range, least: 3 }, 10)).toBe(3);
  expect(scaling.look({ atMs: 1, load: 0 }, { ...range, least: 1, most: 2 }, 10)).toBe(2);
});

test('Scaling takes replicas away where two looks are as far apart as the load has to be low', () => {
  const scaling = new Scaling(2);
  const wanted = [9, 9, 0, 0, 0].map((load, look) =>
    scaling.look({ atMs: look * 1005, load }, { ...range, downSeconds: 1 }, 10),
  );
  expect(wanted).toEqual([2, 2, 2, 1, 1]);
});
