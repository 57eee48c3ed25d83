import { expect, test } from 'vitest';
import { type Definition, definitionSchema } from '../../../simulators/arm/container-groups/definition.ts';
import { checkDefinition } from '../../../simulators/arm/container-groups/rules.ts';

const container = {
  name: 'main',
  properties: { image: 'example.azurecr.io/digits:1', resources: { requests: { cpu: 1, memoryInGB: 1.5 } } },
};
const open = { ...container, properties: { ...container.properties, ports: [{ port: 80 }] } };

test('checkDefinition() takes a group as the service does', () => {
  const secret = { name: 'certificates', secret: { 'tls.crt': 'YQ==' } };
  const mounts = { volumeMounts: [{ name: 'certificates', mountPath: '/mnt/tls' }] };
  const group = groupOf({
    containers: [{ ...open, properties: { ...open.properties, ...mounts } }],
    volumes: [secret],
    ipAddress: { type: 'Public', ports: [{ port: 80 }], dnsNameLabel: 'digits' },
    imageRegistryCredentials: [{ server: 'localhost:5000', username: 'me', password: 'it' }],
  });
  expect(() => checkDefinition('digits-1', group)).not.toThrow();
});

test.each<[string, string, Record<string, unknown>]>([
  ['InvalidContainerGroupName', 'Digits', {}],
  ['InvalidContainerGroupName', 'a'.repeat(64), {}],
  ['NotSimulated', 'digits', { osType: 'Windows' }],
  ['NotSimulated', 'digits', { subnetIds: [{}] }],
  ['InvalidContainerCount', 'digits', { containers: [] }],
  ['InvalidContainerName', 'digits', { containers: [{ ...container, name: 'main-' }] }],
  ['DuplicateContainerName', 'digits', { containers: [container, container] }],
  [
    'InvalidResourceRequest',
    'digits',
    { containers: [withProperties({ resources: { requests: { cpu: 0, memoryInGB: 1 } } })] },
  ],
  ['InvalidResourceRequest', 'digits', { containers: [withProperties({ resources: { requests: { cpu: 1 } } })] }],
  [
    'InvalidResourceRequest',
    'digits',
    { containers: [withProperties({ resources: { requests: { cpu: 32, memoryInGB: 1 } } })] },
  ],
  [
    'InvalidResourceLimit',
    'digits',
    { containers: [withProperties({ resources: { requests: { cpu: 2, memoryInGB: 1 }, limits: { cpu: 1 } } })] },
  ],
  ['InvalidImageName', 'digits', { containers: [withProperties({ image: 'not an image' })] }],
  [
    'InvalidEnvironmentVariable',
    'digits',
    { containers: [withProperties({ environmentVariables: [{ name: 'a-b', value: '' }] })] },
  ],
  [
    'InvalidEnvironmentVariable',
    'digits',
    { containers: [withProperties({ environmentVariables: [{ name: 'A', value: '', secureValue: '' }] })] },
  ],
  [
    'VolumeNotFound',
    'digits',
    { containers: [withProperties({ volumeMounts: [{ name: 'other', mountPath: '/mnt' }] })] },
  ],
  ['InvalidVolumeName', 'digits', { volumes: [{ name: 'abc', emptyDir: {} }] }],
  ['InvalidVolumeName', 'digits', { volumes: [{ name: 'two--hyphens', emptyDir: {} }] }],
  ['InvalidVolume', 'digits', { volumes: [{ name: 'nothing' }] }],
  ['InvalidSecretValue', 'digits', { volumes: [{ name: 'secrets', secret: { a: 'not base64' } }] }],
  ['InvalidSecretName', 'digits', { volumes: [{ name: 'secrets', secret: { '../a': 'YQ==' } }] }],
  ['NotSimulated', 'digits', { volumes: [{ name: 'source', gitRepo: { repository: 'https://example.com' } }] }],
  ['NotSimulated', 'digits', { volumes: [{ name: 'share', azureFile: {} }] }],
  ['NotSimulated', 'digits', { containers: [withProperties({ livenessProbe: { exec: { command: ['true'] } } })] }],
  ['InvalidProbe', 'digits', { containers: [withProperties({ readinessProbe: {} })] }],
  ['InvalidPort', 'digits', { containers: [withProperties({ ports: [{ port: 65_536 }] })] }],
  ['DuplicateContainerPort', 'digits', { containers: [open, { ...open, name: 'other' }] }],
  ['MissingContainerPort', 'digits', { containers: [open], ipAddress: { type: 'Public', ports: [{ port: 443 }] } }],
  ['InvalidPortCount', 'digits', { containers: [open], ipAddress: { type: 'Public', ports: [] } }],
  [
    'InvalidDnsNameLabel',
    'digits',
    { containers: [open], ipAddress: { type: 'Public', ports: [{ port: 80 }], dnsNameLabel: 'node' } },
  ],
  [
    'InvalidDnsNameLabel',
    'digits',
    { containers: [open], ipAddress: { type: 'Public', ports: [{ port: 80 }], dnsNameLabel: '1digits' } },
  ],
  ['NotSimulated', 'digits', { containers: [open], ipAddress: { type: 'Private', ports: [{ port: 80 }] } }],
  [
    'InvalidImageRegistryServer',
    'digits',
    { imageRegistryCredentials: [{ server: 'https://a.b', username: 'a', password: 'b' }] },
  ],
  ['InvalidImageRegistryCredential', 'digits', { imageRegistryCredentials: [{ server: 'a.b', username: 'a' }] }],
  ['InvalidImageRegistryIdentity', 'digits', { imageRegistryCredentials: [{ server: 'a.b', identity: '/x' }] }],
])('checkDefinition() refuses by %s (%s, %j)', (code, name, changes) => {
  expect(() => checkDefinition(name, groupOf(changes))).toThrow(expect.objectContaining({ code }));
});

test('a field that the service does not know is refused', () => {
  expect(definitionSchema.safeParse({ properties: { osType: 'Linux', containers: [], container: [] } }).success).toBe(
    false,
  );
});

function withProperties(changes: Record<string, unknown>): object {
  return { ...container, properties: { ...container.properties, ...changes } };
}

function groupOf(changes: Record<string, unknown>): Definition {
  return definitionSchema.parse({
    location: 'westeurope',
    properties: { osType: 'Linux', containers: [container], ...changes },
  });
}
