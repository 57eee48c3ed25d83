import { expect, test } from 'vitest';
import { readDesired } from '../../agent/desired-state.ts';
import { edgeAgentDesired } from '../../shared/edge/build-manifest.ts';

const desired = {
  ...edgeAgentDesired({ modules: { b: { image: 'b:1' }, a: { image: 'a:1', env: { N: 1, B: true } } } }),
  $version: 7,
};

test('readDesired() gives the modules, sorted, with their environment as text', () => {
  const reading = readDesired(desired);
  expect(reading).toMatchObject({ code: 200, ignored: [], state: { version: 7 } });
  if (reading.code !== 200) return;
  expect(reading.state.modules.map(({ name }) => name)).toEqual(['a', 'b']);
  expect(reading.state.modules[0]?.environment).toEqual({ B: 'true', N: '1' });
});

test('readDesired() says 417 in the words of IoT Edge when there is no deployment', () => {
  expect(readDesired({ $version: 1 })).toMatchObject({
    code: 417,
    version: 1,
    description: expect.stringContaining('This device has an empty configuration for the edge agent.'),
  });
});

test('readDesired() says 400 and names all that is wrong', () => {
  const modules = {
    a: { type: 'docker', settings: { image: '' } },
    b: { type: 'docker', settings: { image: 'b', createOptions: '{' } },
  };
  const reading = readDesired({ ...desired, modules });
  expect(reading).toMatchObject({
    code: 400,
    version: 7,
    description: expect.stringMatching(/modules\.a.*modules\.b.*createOptions/),
  });
});

test.each([null, 'text', 5])('readDesired() says 400 to %s', (value) => {
  expect(readDesired(value)).toMatchObject({ code: 400 });
});

test('readDesired() leaves out a field that the schema does not know, as Microsoft does, and names it', () => {
  const modules = { a: { type: 'docker', settings: { image: 'a' }, restartPolcy: 'always' } };
  const reading = readDesired({ ...desired, modules, extra: 1 });
  expect(reading).toMatchObject({ code: 200, ignored: expect.arrayContaining(['extra', 'modules.a.restartPolcy']) });
});

test('readDesired() gives the same fingerprint whatever the order of the environment, and another for another image', () => {
  const print = (image: string, env: Record<string, string>): unknown => {
    const reading = readDesired(edgeAgentDesired({ modules: { a: { image, env } } }));
    return reading.code === 200 && reading.state.modules[0]?.fingerprint;
  };
  expect(print('a:1', { X: '1', Y: '2' })).toBe(print('a:1', { Y: '2', X: '1' }));
  expect(print('a:1', { X: '1' })).not.toBe(print('a:2', { X: '1' }));
});
