import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { joinCreateOptions, parseCreateOptions, splitCreateOptions } from '../../../shared/edge/create-options.ts';

test('splitCreateOptions() makes pieces of at most 512 characters named as IoT Edge names them', () => {
  const settings = splitCreateOptions({ Env: ['x'.repeat(1100)] });
  expect(Object.keys(settings)).toEqual(['createOptions', 'createOptions01', 'createOptions02']);
  expect(Object.values(settings).map((piece) => piece.length)).toEqual([512, 512, 88]);
});

test('splitCreateOptions() refuses what needs more than 100 pieces', () => {
  expect(() => splitCreateOptions({ Env: ['x'.repeat(51_200)] })).toThrow(
    expect.objectContaining({ code: 'DEPLOYMENT_INVALID' }),
  );
});

test('parseCreateOptions() reads back whatever splitCreateOptions() wrote', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 300 }), { maxLength: 40 }), (Env) => {
      expect(parseCreateOptions({ image: 'x', ...splitCreateOptions({ Env }) })).toEqual({ Env });
    }),
    { numRuns: 50 },
  );
});

test('joinCreateOptions() takes field names in any case and stops at the first piece that is missing', () => {
  expect(joinCreateOptions({ CREATEOPTIONS: '{"a"', createoptions01: ':1}', createOptions03: 'lost' })).toBe('{"a":1}');
});

test.each([{}, { createOptions: '' }, { createOptions: 'null' }])(
  'parseCreateOptions() reads %o as none',
  (settings) => {
    expect(parseCreateOptions(settings)).toEqual({});
  },
);

test.each(['{', '[]', '{"Env":"A=b"}', '{"HostConfig":{"Memory":-1}}'])('parseCreateOptions() refuses %s', (text) => {
  expect(() => parseCreateOptions({ createOptions: text })).toThrow(
    expect.objectContaining({ code: 'DEPLOYMENT_INVALID' }),
  );
});

test('parseCreateOptions() keeps fields that it does not know', () => {
  expect(parseCreateOptions({ createOptions: '{"HostConfig":{"Privileged":true},"Tty":true}' })).toEqual({
    HostConfig: { Privileged: true },
    Tty: true,
  });
});
