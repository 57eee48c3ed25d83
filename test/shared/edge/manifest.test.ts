import { expect, test } from 'vitest';
import { edgeAgentDesired, edgeManifest } from '../../../shared/edge/build-manifest.ts';
import { edgeAgentDesiredSchema, edgeManifestSchema, startupOrderMax } from '../../../shared/edge/manifest.ts';

const image = `localhost:5000/digits@sha256:${'a'.repeat(64)}`;

/** The smallest desired properties that Microsoft's tools write, schema 1.0. */
const smallest = {
  schemaVersion: '1.0',
  runtime: { type: 'docker', settings: {} },
  systemModules: {
    edgeAgent: { type: 'docker', settings: { image: 'mcr.microsoft.com/azureiotedge-agent:1.5', createOptions: '' } },
    edgeHub: {
      type: 'docker',
      status: 'running',
      restartPolicy: 'always',
      settings: { image: 'mcr.microsoft.com/azureiotedge-hub:1.5', createOptions: '{}' },
    },
  },
};

test('edgeAgentDesiredSchema fills in the defaults of IoT Edge', () => {
  const settings = { image: 'nginx' };
  const desired = edgeAgentDesiredSchema.parse({ ...smallest, modules: { web: { type: 'docker', settings } } });
  expect(desired.modules['web']).toEqual({
    type: 'docker',
    settings,
    status: 'running',
    restartPolicy: 'on-unhealthy',
    imagePullPolicy: 'on-create',
    startupOrder: startupOrderMax,
  });
  expect(desired.systemModules.edgeHub.restartPolicy).toBe('always');
});

test.each([
  ['a schema version of another major', { schemaVersion: '2.0' }],
  ['a module name with a dot', { modules: { 'a.b': { type: 'docker', settings: { image } } } }],
  ['another engine type', { modules: { m: { type: 'podman', settings: { image } } } }],
  ['a status that does not exist', { modules: { m: { type: 'docker', status: 'paused', settings: { image } } } }],
  ['an image that is empty', { modules: { m: { type: 'docker', settings: { image: ' ' } } } }],
  ['an image with two tags', { modules: { m: { type: 'docker', settings: { image: 'a:1:2' } } } }],
  ['createOptions that are no JSON', { modules: { m: { type: 'docker', settings: { image, createOptions: '{' } } } }],
  ['createOptions that are an object', { modules: { m: { type: 'docker', settings: { image, createOptions: {} } } } }],
  ['a field that does not exist', { modules: { m: { type: 'docker', settings: { image }, restartPolcy: 'always' } } }],
  [
    'an environment name with a dot',
    { modules: { m: { type: 'docker', settings: { image }, env: { 'a.b': { value: 1 } } } } },
  ],
  ['a start order that is negative', { modules: { m: { type: 'docker', settings: { image }, startupOrder: -1 } } }],
])('edgeAgentDesiredSchema refuses %s', (_, change) => {
  expect(edgeAgentDesiredSchema.safeParse({ ...smallest, ...change }).success).toBe(false);
});

test('edgeAgentDesired() makes what the schema takes, createOptions in pieces', () => {
  const desired = edgeAgentDesired({
    modules: {
      digits: { image, env: { SERVICE_NAME: 'digits' }, createOptions: { Env: ['x'.repeat(600)] }, startupOrder: 1 },
    },
  });
  const module = edgeAgentDesiredSchema.parse(desired).modules['digits'];
  expect(module).toMatchObject({
    restartPolicy: 'always',
    startupOrder: 1,
    env: { SERVICE_NAME: { value: 'digits' } },
  });
  expect(Object.keys(module?.settings ?? {})).toEqual(['image', 'createOptions', 'createOptions01']);
});

test('edgeAgentDesired() refuses a module name that IoT Edge would refuse', () => {
  expect(() => edgeAgentDesired({ modules: { 'two words': { image } } })).toThrow(
    expect.objectContaining({ code: 'DEPLOYMENT_INVALID', message: expect.stringContaining('modules.two words') }),
  );
});

test('edgeManifest() makes a whole manifest', () => {
  const manifest = edgeManifest({ modules: { digits: { image } } });
  expect(edgeManifestSchema.safeParse(manifest).error).toBeUndefined();
  expect(JSON.stringify(edgeManifest({ modules: { digits: { image } } }))).toBe(JSON.stringify(manifest));
});
