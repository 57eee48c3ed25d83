import { assert, property, stringMatching } from 'fast-check';
import { expect, test } from 'vitest';
import { imageNameProblem, modelNameProblem, modelRepository, parseVersionedName } from '../../../shared/model/name.ts';
import { isRepository } from '../../../shared/oci/reference.ts';

test.each(['a', 'Digits', '0.1-b_c', 'a'.repeat(255)])('modelNameProblem() takes "%s"', (name) => {
  expect(modelNameProblem(name)).toBeUndefined();
});

test.each(['', '-a', '.a', 'a/b', 'ä', 'a b', 'a:1', 'a'.repeat(256)])('modelNameProblem() refuses "%s"', (name) => {
  expect(modelNameProblem(name)).toContain(`the name is "${name}"`);
});

test.each(['abc', '1.a', 'a-b.c', 'a--b', 'a'.repeat(32)])('imageNameProblem() takes "%s"', (name) => {
  expect(imageNameProblem(name)).toBeUndefined();
});

test.each(['ab', 'Abc', 'a_b', '-ab', 'ab-', 'a..b', 'a.-b', 'a'.repeat(33)])(
  'imageNameProblem() refuses "%s"',
  (name) => {
    expect(imageNameProblem(name)).toContain(`the name is "${name}"`);
  },
);

test('parseVersionedName() reads a name, and a version where there is one', () => {
  expect(parseVersionedName('digits')).toEqual({ name: 'digits' });
  expect(parseVersionedName('digits:12')).toEqual({ name: 'digits', version: 12 });
});

test.each(['digits:', 'digits:0', 'digits:01', 'digits:latest', 'digits:1.5'])(
  'parseVersionedName() refuses "%s"',
  (text) => {
    expect(() => parseVersionedName(text)).toThrow('a whole number from 1 was wanted');
  },
);

const modelName = stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9\-._]{0,254}$/);

test('modelRepository() gives every model name a legal repository', () => {
  const holds = property(modelName, (name) => isRepository(modelRepository(name)));
  expect(() => assert(holds)).not.toThrow();
});

test('modelRepository() gives no two names the same repository', () => {
  const near = stringMatching(/^[aAx][aA4\-._]{0,6}$/);
  const holds = property(near, near, (a, b) => a === b || modelRepository(a) !== modelRepository(b));
  expect(() => assert(holds)).not.toThrow();
});

test('modelRepository() keeps a name that is legal as it is', () => {
  expect(modelRepository('digits-mlp.v1')).toBe('models/digits-mlp.v1');
});
