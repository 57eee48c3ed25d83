import { expect, test } from 'vitest';
import { changeLabels, labelProblems, type Labels } from '../../../cloud/models/labels.ts';

const before: Labels = { tags: { area: 'vision', stage: 'test' }, properties: { run: '7' }, description: 'digits' };

test('changeLabels() adds, changes and removes tags one by one', () => {
  const after = changeLabels(before, { addTags: { stage: 'live', owner: 'a=b,c' }, removeTags: ['area'] });
  expect(after).toEqual({ ...before, tags: { stage: 'live', owner: 'a=b,c' } });
});

test('changeLabels() replaces all tags, and leaves what is not named', () => {
  expect(changeLabels(before, { setTags: { only: '' } })).toEqual({ ...before, tags: { only: '' } });
  expect(changeLabels(before, { description: '' })).toEqual({ ...before, description: '' });
});

test('changeLabels() adds properties, and takes one that is there with the same value', () => {
  const after = changeLabels(before, { addProperties: { run: '7', commit: 'abc' } });
  expect(after.properties).toEqual({ run: '7', commit: 'abc' });
});

test('changeLabels() names everything that it refuses at once', () => {
  const change = {
    removeTags: ['owner'],
    addProperties: { run: '8' },
    addTags: { '': 'x' },
    description: 'x'.repeat(4097),
  };
  expect(() => changeLabels(before, change)).toThrow(
    /^Cannot change tags and properties: there is no tag "owner" to remove; the property "run" is "7" and stays so; the tag key is "", .* wanted, a letter or digit first; the description has 4097 characters, at most 4096 were wanted$/,
  );
});

test('labelProblems() bounds how many tags there are', () => {
  const tags = Object.fromEntries(Array.from({ length: 101 }, (_, at) => [`t${at}`, '']));
  expect(labelProblems({ tags })).toEqual(['there are 101 tags, at most 100 were wanted']);
});
