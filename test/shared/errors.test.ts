import { expect, test } from 'vitest';
import { FerryError, isFerryError, messageOf, systemCodeOf } from '../../shared/errors.ts';

test('isFerryError() looks at the code when one is given', () => {
  const error = new FerryError('USAGE', 'Cannot do: no');
  expect([isFerryError(error), isFerryError(error, 'USAGE'), isFerryError(error, 'TIMEOUT')]).toEqual([
    true,
    true,
    false,
  ]);
  expect(isFerryError(new Error('USAGE'))).toBe(false);
});

test('messageOf() joins the messages of causes, outermost first', () => {
  const error = new Error('outer', { cause: new Error('inner') });
  expect(messageOf(error)).toBe('outer: inner');
  expect(messageOf('thrown text')).toBe('thrown text');
});

test('systemCodeOf() finds the code on a cause and inside an aggregate', () => {
  const refused = Object.assign(new Error('x'), { code: 'ECONNREFUSED' });
  expect(systemCodeOf(new Error('outer', { cause: refused }))).toBe('ECONNREFUSED');
  expect(systemCodeOf(new Error('outer', { cause: new AggregateError([refused]) }))).toBe('ECONNREFUSED');
  expect(systemCodeOf(new Error('plain'))).toBeUndefined();
});
