import { expect, test } from 'vitest';
import { parseCarriedModules } from '../../../../cloud/deploy/iotedge/carried-modules.ts';
import { wholeManifest } from './manifests.ts';

const parse = (document: unknown) => parseCarriedModules('deployment.json', JSON.stringify(document));

test('parseCarriedModules() takes a manifest as tools write it, also out of a configuration of the hub', () => {
  const manifest = wholeManifest();
  const carried = parse({ '$schema-template': '4.0.0', ...manifest });
  expect(Object.keys(carried.modules)).toEqual(['filter']);
  expect(carried.routes).toEqual({ filtered: 'FROM /messages/modules/filter/* INTO $upstream' });
  expect(carried.twins).toEqual({ filter: { 'properties.desired': { least: 3 } } });
  expect(carried.whole?.agent).toMatchObject({ schemaVersion: '1.0', systemModules: { edgeHub: { type: 'docker' } } });
  expect(parse({ id: 'a', priority: 3, content: manifest })).toEqual(carried);
});

test('parseCarriedModules() takes modules, routes and desired properties of a layer', () => {
  const filter = { type: 'docker', settings: { image: 'registry/filter:1' } };
  const carried = parse({
    modulesContent: {
      $edgeAgent: { 'properties.desired.modules.filter': filter },
      $edgeHub: { 'properties.desired.routes.all': { route: 'FROM /* INTO $upstream', priority: 1 } },
      below: { 'properties.desired.least': 3 },
    },
  });
  expect(carried).toEqual({
    whole: undefined,
    modules: { filter },
    routes: { all: { route: 'FROM /* INTO $upstream', priority: 1 } },
    twins: { below: { 'properties.desired.least': 3 } },
  });
});

test.each<[string, (manifest: ReturnType<typeof wholeManifest>) => unknown, string[]]>([
  ['no JSON', () => undefined, ['it has no modulesContent']],
  ['no manifest', () => ({ modules: {} }), ['it has no modulesContent']],
  [
    'fields of no schema, and one that is missing',
    ({ modulesContent }) => {
      const agent = modulesContent.$edgeAgent['properties.desired'];
      const filter = { type: 'docker', statuss: 'running', settings: { image: 'a b', createOptions: '{' } };
      return {
        modulesContent: {
          ...modulesContent,
          $edgeAgent: {
            'properties.desired': { ...agent, schemaVersion: '2.0', modules: { filter, 'fil ter': filter } },
          },
          $edgeHub: { 'properties.desired': { schemaVersion: '1.1' } },
        },
      };
    },
    [
      'schema version "1.0" or "1.1"',
      'a name of letters',
      '"statuss"',
      'createOptions: Cannot read',
      'storeAndForward',
    ],
  ],
  [
    'a layer that sets something else',
    () => ({
      modulesContent: {
        $edgeAgent: { 'properties.desired.runtime': {}, 'properties.desired.modules.filter': { type: 'docker' } },
        $edgeHub: { 'properties.desired.routes.a': 7 },
        filter: { reported: {} },
      },
    }),
    ['"properties.desired.runtime" is set', 'modules.filter.settings: ', 'routes.a.', 'filter: "reported" is set'],
  ],
])('parseCarriedModules() refuses %s, naming all of it', (_what, change, named) => {
  let refusal: unknown;
  try {
    parse(change(wholeManifest()));
  } catch (error) {
    refusal = error;
  }
  expect(refusal).toMatchObject({ code: 'SERVICE_INVALID' });
  expect(String(refusal)).toContain('Cannot use the modules of "deployment.json": ');
  for (const part of named) expect(String(refusal)).toContain(part);
});
