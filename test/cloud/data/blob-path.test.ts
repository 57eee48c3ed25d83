import { expect, test } from 'vitest';
import { isInTime, isOfStream, parseBlobPath, pathPrefix } from '../../../cloud/data/blob-path.ts';

const scope = 'sub/rg/lab';
const tail = 'digits/mlp/3/inputs/2026/11/22/inputs-b1-1-9.csv';
const parsed = { service: 'digits', model: 'mlp', version: 3, designation: 'inputs', date: '2026-11-22' };

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
  `${scope}/digits/mlp/3/inputs/2026/11/22/10/a.csv`,
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

test('isOfStream() and isInTime() look at what is given, both days included', () => {
  const path = parseBlobPath(`${scope}/${tail}`, scope);
  if (path === undefined) throw new Error('No path');
  expect(isOfStream(path, { model: 'mlp', designation: 'inputs' })).toBe(true);
  expect(isOfStream(path, { version: 2 })).toBe(false);
  expect(isInTime(path, { from: '2026-11-22', to: '2026-11-22' })).toBe(true);
  expect(isInTime(path, { from: '2026-11-23' })).toBe(false);
  expect(isInTime(path, { to: '2026-11-21' })).toBe(false);
});
