import { expect, test } from 'vitest';
import {
  candidateName,
  candidateOf,
  containerGroup,
  contentTag,
  dnsLabelOf,
  withoutSecrets,
} from '../../../../cloud/deploy/aci/container-group.ts';
import type { DesiredService } from '../../../../cloud/deploy/deployer.ts';
import type { GivenSettings } from '../../../../cloud/deploy/settings/definitions.ts';
import { completeSettings } from '../../../../cloud/deploy/settings/service-settings.ts';

const parts = { image: 'example.azurecr.io/digits@sha256:1', location: 'westeurope' };
const secrets = {
  primary: 'the-first-of-the-keys',
  secondary: 'the-second-of-the-keys',
  tokenSecret: 'what-tokens-are-signed-with',
  tls: { certificate: 'a certificate', key: 'the key of it' },
};

function desiredOf(given: GivenSettings = {}, changes: Partial<DesiredService> = {}): DesiredService {
  return {
    name: 'digits',
    target: { kind: 'aci' },
    image: undefined as unknown as DesiredService['image'],
    given,
    settings: completeSettings('aci', given),
    secrets,
    sample: undefined,
    scope: 'subscription/local/lab',
    ...changes,
  };
}

test('containerGroup() writes keys, TLS and storage into a secret volume, and says in the environment where they are', () => {
  const uploadUrl = 'https://storage/modeldata?sig=a-signature';
  const given = { collect: true, appInsights: true, cpuCores: 2, memoryGb: 3, port: 8443, env: { WORKER_COUNT: '2' } };
  const group = containerGroup(desiredOf(given), { ...parts, uploadUrl, appInsights: 'InstrumentationKey=it' });
  const [container] = group.containers;
  const files = Object.entries(group.volumes?.[0]?.secret ?? {}).map(([name, text]) => [
    name,
    Buffer.from(text, 'base64').toString(),
  ]);
  expect(Object.fromEntries(files)).toEqual({
    'callers.json': JSON.stringify({ keys: [secrets.primary, secrets.secondary], tokenSecret: secrets.tokenSecret }),
    'tls.crt': 'a certificate',
    'tls.key': 'the key of it',
    'upload-url': uploadUrl,
  });
  const environment = Object.fromEntries(
    (container?.environmentVariables ?? []).map(({ name, value }) => [name, value]),
  );
  expect(environment).toMatchObject({
    WORKER_COUNT: '2',
    MODELFERRY_PORT: '8443',
    MODELFERRY_KEYS_FILE: '/mnt/modelferry/secrets/callers.json',
    MODELFERRY_TLS_KEY_FILE: '/mnt/modelferry/secrets/tls.key',
    MODELFERRY_DATA_DIR: '/var/modelferry/data',
    MODELFERRY_UPLOAD_SAS_FILE: '/mnt/modelferry/secrets/upload-url',
    APPLICATIONINSIGHTS_CONNECTION_STRING: undefined,
  });
  expect(container).toMatchObject({
    image: parts.image,
    resources: { requests: { cpu: 2, memoryInGB: 3 } },
    livenessProbe: { httpGet: { port: 8443, scheme: 'https' } },
  });
});

test('withoutSecrets() leaves nothing that is secret', () => {
  const registryCredential = { server: 'example.azurecr.io', username: 'me', password: 'of-the-registry' };
  const uploadUrl = 'https://storage/modeldata?sig=a-signature';
  const group = containerGroup(desiredOf({ collect: true }), {
    ...parts,
    registryCredential,
    uploadUrl,
    appInsights: 'its-key',
  });
  const shown = JSON.stringify(withoutSecrets(group));
  const values = [...Object.values(group.volumes?.[0]?.secret ?? {}), 'of-the-registry', 'its-key', secrets.primary];
  for (const value of values) expect(shown).not.toContain(value);
  expect(shown).toContain('callers.json');
});

test('without keys and TLS there is no secret volume, and the port speaks HTTP', () => {
  const { tls: _tls, ...others } = secrets;
  const group = containerGroup(desiredOf({ authEnabled: false }, { secrets: others }), parts);
  expect(group.volumes).toBeUndefined();
  expect(group.containers[0]?.volumeMounts).toBeUndefined();
  expect(group.containers[0]?.livenessProbe?.httpGet).toMatchObject({ port: 5001, scheme: 'http' });
});

test('the content tag is the same for the same service, whatever the signature for storage, and another for all else', () => {
  const tagOf = (desired: DesiredService, changes: object = {}) =>
    containerGroup(desired, { ...parts, ...changes }).tags?.[contentTag];
  const tag = tagOf(desiredOf());
  expect(tagOf(desiredOf(), { uploadUrl: 'https://storage?sig=new' })).toBe(tag);
  expect(tagOf(desiredOf(), { image: 'example.azurecr.io/digits@sha256:2' })).not.toBe(tag);
  expect(tagOf(desiredOf({ cpuCores: 3 }))).not.toBe(tag);
  expect(tagOf(desiredOf({}, { secrets: { ...secrets, primary: 'another-key-of-the-two' } }))).not.toBe(tag);
});

test('dnsLabelOf() and candidateName() are names that Azure takes', () => {
  for (const name of ['digits', '7segments', 'a', 'a'.repeat(32)]) {
    expect(dnsLabelOf(desiredOf({}, { name }))).toMatch(/^[a-z][a-z0-9-]{3,61}[a-z0-9]$/);
    expect(candidateName(name)).toMatch(/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/);
  }
  expect(dnsLabelOf(desiredOf())).not.toBe(dnsLabelOf(desiredOf({}, { scope: 'subscription/local/other' })));
  expect(dnsLabelOf(desiredOf({ dnsNameLabel: 'my-label' }))).toBe('my-label');
});

test('candidateOf() has no name on the internet: that is the one of the service', () => {
  expect(candidateOf(containerGroup(desiredOf(), parts)).ipAddress).toEqual({
    type: 'Public',
    ports: [{ protocol: 'TCP', port: 5001 }],
  });
});
