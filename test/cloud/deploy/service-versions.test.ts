import { expect, test } from 'vitest';
import { mergeVersions, serviceVersions, versionProblems } from '../../../cloud/deploy/settings/service-versions.ts';

const split = { versions: { next: 'digits:2' }, traffic: { next: '10' } };

test('serviceVersions() gives the default version what the others leave', () => {
  expect(serviceVersions({})).toEqual([{ name: 'default', image: undefined, percent: 100, mirrorPercent: 0 }]);
  expect(serviceVersions({ ...split, mirror: { next: '50' } })).toEqual([
    { name: 'default', image: undefined, percent: 90, mirrorPercent: 0 },
    { name: 'next', image: 'digits:2', percent: 10, mirrorPercent: 50 },
  ]);
});

test.each<[string, Parameters<typeof versionProblems>[1], string]>([
  ['a name that is none', { versions: { Next: 'digits:2' } }, 'the version is "Next"'],
  ['the name of the default one', { versions: { default: 'digits:2' } }, 'and not "default"'],
  ['an image without a version', { versions: { next: 'digits' } }, 'NAME:VERSION was wanted'],
  ['a share of nobody', { traffic: { next: '10' } }, 'a share of traffic is given for "next"'],
  ['a share that is no percent', { ...split, traffic: { next: 'half' } }, 'is "half", 0 to 100 was wanted'],
  ['more than all', { ...split, traffic: { next: '101' } }, 'is "101"'],
  [
    'shares that do not make the whole',
    { ...split, traffic: { next: '10', default: '80' } },
    'make 90 percent, 100 was',
  ],
  [
    'copies for the default version',
    { ...split, mirror: { default: '10' } },
    'a share of copies is given for "default"',
  ],
  [
    'too many',
    { versions: Object.fromEntries(['one', 'two', 'three', 'four', 'five', 'six'].map((name) => [name, 'digits:2'])) },
    'there are 6 versions, 5 at most',
  ],
])('versionProblems() refuses %s', (_what, given, problem) => {
  expect(versionProblems('digits', given).join('; ')).toContain(problem);
});

test('versionProblems() takes what is right', () => {
  expect(versionProblems('digits', { ...split, mirror: { next: '12.5' } })).toEqual([]);
  expect(versionProblems('digits', { ...split, traffic: { next: '10', default: '90' } })).toEqual([]);
});

test('mergeVersions() changes versions one by one, and removes one with its shares', () => {
  const two = mergeVersions(split, { versions: { other: 'digits:3' }, traffic: { next: '20', other: '5' } });
  expect(two).toEqual({ versions: { next: 'digits:2', other: 'digits:3' }, traffic: { next: '20', other: '5' } });
  expect(mergeVersions(two, { versions: { next: '' } })).toEqual({
    versions: { other: 'digits:3' },
    traffic: { other: '5' },
  });
  expect(mergeVersions(split, { versions: { next: '' } })).toEqual({});
});
