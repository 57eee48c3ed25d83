import { expect, test } from 'vitest';
import { parseCarriedModules } from '../../../../cloud/deploy/iotedge/carried-modules.ts';
import { deploymentContent, withoutPasswords } from '../../../../cloud/deploy/iotedge/deployment-content.ts';
import { edgeManifestSchema } from '../../../../shared/edge/manifest.ts';
import { wholeManifest } from './manifests.ts';

const carriedOf = (document: unknown) => parseCarriedModules('deployment.json', JSON.stringify(document));
const parts = {
  service: 'digits',
  own: { digits: { image: 'registry/digits:1' } },
  carried: carriedOf(wholeManifest()),
  isLayer: false,
  binding: { address: '127.0.0.1', port: 5001 },
};
const aLayer = {
  modulesContent: {
    $edgeAgent: { 'properties.desired.modules.filter': { type: 'docker', settings: { image: 'filter:1' } } },
    $edgeHub: { 'properties.desired.routes.all': 'FROM /* INTO $upstream' },
    below: { 'properties.desired.least': 3 },
  },
};

test('deploymentContent() keeps all of a manifest, and puts the modules of the service into it', () => {
  const content = deploymentContent(parts);
  expect(edgeManifestSchema.safeParse(content).error).toBeUndefined();
  const { modulesContent } = wholeManifest();
  const agent = modulesContent.$edgeAgent['properties.desired'];
  expect(content.modulesContent).toEqual({
    ...modulesContent,
    $edgeAgent: {
      'properties.desired': {
        ...agent,
        modules: {
          ...agent.modules,
          digits: expect.objectContaining({ settings: { image: 'registry/digits:1', createOptions: '{}' } }) as object,
        },
      },
    },
  });
  const shown = JSON.stringify(withoutPasswords(content));
  expect(shown).toContain('"username":"puller","password":"(secret)"');
  expect(shown).not.toContain('a-password-of-the-registry');
  // What is sent is another thing.
  expect(JSON.stringify(content)).toContain('a-password-of-the-registry');
});

test('deploymentContent() raises the schema where a module of the service has its place in the order of starts', () => {
  const runtime = { image: 'registry/runtime:1', startupOrder: 1 };
  const content = deploymentContent({ ...parts, own: { ...parts.own, 'digits-accelerator': runtime } });
  const read = edgeManifestSchema.parse(content).modulesContent.$edgeAgent['properties.desired'];
  expect(read).toMatchObject({ schemaVersion: '1.1', modules: { 'digits-accelerator': { startupOrder: 1 } } });
});

test('deploymentContent() makes one layer of a layer, and of the modules and routes of a manifest', () => {
  const layered = { ...parts, isLayer: true };
  expect(Object.entries(deploymentContent({ ...layered, carried: carriedOf(aLayer) }).modulesContent)).toEqual([
    ['below', { 'properties.desired.least': 3 }],
    [
      '$edgeAgent',
      {
        'properties.desired.modules.filter': { type: 'docker', settings: { image: 'filter:1' } },
        'properties.desired.modules.digits': expect.objectContaining({ type: 'docker' }) as object,
      },
    ],
    ['$edgeHub', { 'properties.desired.routes.all': 'FROM /* INTO $upstream' }],
  ]);
  const manifest = wholeManifest();
  Object.assign(manifest.modulesContent.$edgeAgent['properties.desired'].runtime.settings, { registryCredentials: {} });
  const { modulesContent } = deploymentContent({ ...layered, carried: carriedOf(manifest) });
  expect(Object.keys(modulesContent['$edgeAgent'] ?? {})).toEqual([
    'properties.desired.modules.filter',
    'properties.desired.modules.digits',
  ]);
  expect(modulesContent['filter']).toEqual({ 'properties.desired': { least: 3 } });
});

test('deploymentContent() names all modules that are in the way', () => {
  const refusal = (change: Partial<typeof parts>): string => {
    try {
      return JSON.stringify(deploymentContent({ ...parts, ...change }));
    } catch (error) {
      return String(error);
    }
  };
  const binding = (HostIp: string, port = '5001/tcp') =>
    JSON.stringify({ HostConfig: { PortBindings: { [port]: [{ HostIp, HostPort: '5001' }] } } });
  const carrying = (createOptions: string) => carriedOf(wholeManifest({ createOptions }));
  const taken = 'the module "filter" binds the port 5001 of the device, which "digits" answers on';
  for (const address of ['', '0.0.0.0', '127.0.0.1'])
    expect(refusal({ carried: carrying(binding(address)) })).toContain(taken);
  const free = { carried: carrying(binding('10.0.0.7')) };
  expect(refusal(free)).not.toContain('Cannot');
  expect(refusal({ ...free, binding: { address: '0.0.0.0', port: 5001 } })).toContain(taken);
  expect(refusal({ carried: carrying(binding('', '5001/udp')) })).not.toContain('Cannot');

  const manifest = wholeManifest();
  Object.assign(manifest.modulesContent, { filtr: { 'properties.desired': {} } });
  Object.assign(manifest.modulesContent.$edgeAgent['properties.desired'].modules, {
    digits: { type: 'docker', settings: { image: 'mine:1' } },
  });
  const both = refusal({ carried: carriedOf(manifest) });
  expect(both).toContain('Cannot carry the other modules of "digits": the module "digits" has the name of one');
  expect(both).toContain('; desired properties are given for the module "filtr", which there is not');
  expect(refusal({ carried: carriedOf(aLayer) })).toContain(
    'they are a layer, a whole manifest was wanted, or --layered',
  );
  expect(refusal({ isLayer: true })).toContain('a layer does not bring the registry credentials "mine"');
});
