import { expect, test } from 'vitest';
import { isInTime, isOfStream, isWhollyInTime, parseBlobPath, pathPrefix } from '../../../cloud/data/blob-path.ts';

const scope = 'sub/rg/lab';
const tail = 'digits/mlp/3/inputs/2026/11/22/inputs-b1-1-9.csv';
const parsed = {
  service: 'digits',
  model: 'mlp',
  version: 3,
  designation: 'inputs',
  folder: '2026-11-22',
  fromMs: Date.UTC(2026, 10, 22),
  beforeMs: Date.UTC(2026, 10, 23),
  kind: 'csv',
};

test('parseBlobPath() reads paths of the cloud and of devices', () => {
  expect(parseBlobPath(`${scope}/${tail}`, scope)).toEqual({ ...parsed, device: undefined });
  expect(parseBlobPath(`gw-1/${scope}/${tail}`, scope)).toEqual({ ...parsed, device: 'gw-1' });
});

test.each([
  `other/rg/lab/${tail}`,
  `gw-1/more/${scope}/${tail}`,
  `${scope}/digits/mlp/0/inputs/2026/11/22/a.csv`,
  `${scope}/digits/mlp/3/pictures/2026/11/22/a.csv`,
  `${scope}/digits/mlp/3/inputs/26/11/22/a.csv`,
  `${scope}/digits/mlp/3/inputs/2026/11/22/a.json`,
  `${scope}/digits/mlp/3/inputs/2026/11/22/24/a.csv`,
  `${scope}/digits/mlp/3/inputs/2026/11/22/10/00/a.csv`,
  `${scope}/digits/mlp/3/inputs/2026/02/30/a.csv`,
  `${scope}/digits/mlp/3/inputs/2026/11/22/.csv`,
  `${scope}//mlp/3/inputs/2026/11/22/a.csv`,
  scope,
])('parseBlobPath() knows that "%s" is none', (path) => {
  expect(parseBlobPath(path, scope)).toBeUndefined();
});

test('pathPrefix() goes as far as the filter is known from the left', () => {
  expect(pathPrefix(scope, {})).toBe('sub/rg/lab/');
  expect(pathPrefix(scope, { service: 'digits', version: 3 })).toBe('sub/rg/lab/digits/');
  expect(pathPrefix(scope, { service: 'digits', model: 'mlp', version: 3, designation: 'labels' })).toBe(
    'sub/rg/lab/digits/mlp/3/labels/',
  );
});

test('parseBlobPath() reads folders of hours, and every kind of file', () => {
  const path = parseBlobPath(`${scope}/digits/mlp/3/inputs/2026/11/22/09/inputs-b1-1-9.parquet`, scope);
  const fromMs = Date.UTC(2026, 10, 22, 9);
  expect(path).toMatchObject({ folder: '2026-11-22 09h', fromMs, beforeMs: fromMs + 3_600_000, kind: 'parquet' });
});

test('isOfStream(), isInTime() and isWhollyInTime() look at what is given', () => {
  const path = parseBlobPath(`gw-1/${scope}/${tail}`, scope);
  if (path === undefined) throw new Error('No path');
  expect(isOfStream(path, { model: 'mlp', designation: 'inputs', device: 'gw-1' })).toBe(true);
  expect(isOfStream(path, { version: 2 })).toBe(false);
  expect(isOfStream(path, { device: 'gw-2' })).toBe(false);
  const { fromMs, beforeMs } = path;
  expect(isInTime(path, { fromMs: beforeMs - 1, beforeMs })).toBe(true);
  expect(isInTime(path, { fromMs: beforeMs })).toBe(false);
  expect(isInTime(path, { beforeMs: fromMs })).toBe(false);
  expect(isWhollyInTime(path, { fromMs, beforeMs })).toBe(true);
  expect(isWhollyInTime(path, { fromMs: fromMs + 1 })).toBe(false);
  expect(isWhollyInTime(path, { beforeMs: beforeMs - 1 })).toBe(false);
});
