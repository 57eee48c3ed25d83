import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readSample, sampleProblems } from '../../../cloud/models/sample.ts';
import type { Signature } from '../../../shared/model/signature.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

const signature: Signature = {
  inputs: [
    { name: 'image', type: 'uint8', shape: ['batch', 2, '?'] },
    { name: 'label', type: 'string', shape: ['batch'] },
  ],
  outputs: [],
};

test.each([
  [{ image: [[[1], [2]]], label: ['a'] }],
  [
    {
      image: [
        [
          [1, 2, 3],
          [4, 5, 255],
        ],
        [
          [0, 0, 0],
          [0, 0, 0],
        ],
      ],
      label: ['a', 'b'],
    },
  ],
])('sampleProblems() takes %j', (sample) => {
  expect(sampleProblems(sample, signature)).toEqual([]);
});

test.each([
  [[], 'it is no object, one with "image", "label" was wanted'],
  [{ label: ['a'], more: 1 }, 'the model has no input "more"; "image" is missing'],
  [{ image: [[1, 2]], label: ['a'] }, '"image" has the shape [1, 2], [batch, 2, ?] was wanted'],
  [{ image: [[[1]]], label: ['a'] }, '"image" has the shape [1, 1, 1], [batch, 2, ?] was wanted'],
  [{ image: [[[1], [2, 3]]], label: ['a'] }, '"image" is not of one shape, [batch, 2, ?] was wanted'],
  [{ image: [[[1], [256]]], label: ['a'] }, '"image" holds 256, uint8 was wanted'],
  [{ image: [[[1], [1.5]]], label: [1] }, '"image" holds 1.5, uint8 was wanted; "label" holds 1, string was wanted'],
  [{ image: [[[1], [2]]], label: ['a', 'b'] }, '"label" has the shape [2], [batch] was wanted'],
])('sampleProblems() says what is wrong with %j', (sample, problems) => {
  expect(sampleProblems(sample, signature).join('; ')).toBe(problems);
});

test.each([
  ['int8', -129],
  ['int64', 0.5],
  ['bool', 1],
  ['float32', '1'],
] as const)('sampleProblems() refuses %s from being %j', (type, value) => {
  const scalar: Signature = { inputs: [{ name: 'x', type, shape: [] }], outputs: [] };
  expect(sampleProblems({ x: value }, scalar)).toEqual([`"x" holds ${JSON.stringify(value)}, ${type} was wanted`]);
});

test('readSample() says what is wrong with the file', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'sample.json');
  await expect(readSample(path, signature)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  await writeFile(path, '{');
  await expect(readSample(path, signature)).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    message: `Cannot use the sample "${path}": it is no JSON`,
  });
  await truncate(path, 2_000_000);
  await expect(readSample(path, signature)).rejects.toThrow('it has 2000000 bytes, at most 1048576 were wanted');
  await expect(readSample(folder.path, signature)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
});
