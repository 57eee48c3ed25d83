import { expect, test } from 'vitest';
import { checkRepository, checkTag, formatReference, parseReference } from '../../../shared/oci/reference.ts';

const digest = `sha256:${'a'.repeat(64)}` as const;

// distribution/reference, reference_test.go and normalize_test.go.
test.each([
  ['debian', { host: 'docker.io', repository: 'library/debian', tag: 'latest' }],
  ['debian:12-slim', { host: 'docker.io', repository: 'library/debian', tag: '12-slim' }],
  ['library/debian', { host: 'docker.io', repository: 'library/debian', tag: 'latest' }],
  ['localhost/digits', { host: 'localhost', repository: 'digits', tag: 'latest' }],
  ['localhost:5000/digits', { host: 'localhost:5000', repository: 'digits', tag: 'latest' }],
  ['localhost:5000/models/digits:1', { host: 'localhost:5000', repository: 'models/digits', tag: '1' }],
  [`x.azurecr.io/digits@${digest}`, { host: 'x.azurecr.io', repository: 'digits', digest }],
  [`x.azurecr.io/digits:1@${digest}`, { host: 'x.azurecr.io', repository: 'digits', tag: '1', digest }],
  ['[::1]:5000/a__b/c--d', { host: '[::1]:5000', repository: 'a__b/c--d', tag: 'latest' }],
  ['Registry/digits', { host: 'Registry', repository: 'digits', tag: 'latest' }],
])('parseReference() reads %s', (text, wanted) => {
  const reference = parseReference(text);
  expect(reference).toEqual(wanted);
  expect(parseReference(formatReference(reference))).toEqual(wanted);
});

test.each([
  ['', 'the repository ""'],
  ['Digits', 'the repository "Digits"'],
  ['localhost:5000/Digits', 'the repository "Digits"'],
  ['a//b', 'the repository "a//b"'],
  ['localhost:5000/', 'the repository ""'],
  ['digits:', 'the tag ""'],
  ['digits:-1', 'the tag "-1"'],
  [`digits:${'1'.repeat(129)}`, 'the tag'],
  ['digits@sha256:abc', 'the digest "sha256:abc"'],
  [`digits@${digest}@${digest}`, 'more than one "@"'],
  ['x.azurecr.io:port/digits', 'the host "x.azurecr.io:port"'],
  [`${'a/'.repeat(150)}b`, 'longer than 255'],
])('parseReference() refuses "%s" and says why', (text, why) => {
  expect(() => parseReference(text)).toThrow(
    expect.objectContaining({ code: 'NAME_INVALID', message: expect.stringContaining(why) }),
  );
});

test('parseReference() reports all that is wrong at once', () => {
  expect(() => parseReference('localhost:5000/A:-x@y')).toThrow(/repository "A".*tag "-x".*digest "y"/);
});

test('checkRepository() and checkTag() refuse with their own codes', () => {
  expect(() => checkRepository('a/../b')).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }));
  expect(() => checkTag('a/b')).toThrow(expect.objectContaining({ code: 'TAG_INVALID' }));
});
