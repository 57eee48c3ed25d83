import type { ContainerGroup, ImageRegistryCredential } from '@azure/arm-containerinstance';
import { createHash, createHmac } from 'node:crypto';
import { appInsightsVariable } from '../app-insights.ts';
import type { DesiredService } from '../deployer.ts';
import { scoringEnvironment } from '../scoring-environment.ts';
import { callersFile } from '../service-keys.ts';
import type { ServiceSettings } from '../settings/definitions.ts';

/** What a container group is made of, beside the service itself. */
export interface ContainerGroupParts {
  /** Reference by digest. */
  readonly image: string;
  readonly location: string;
  readonly registryCredential?: ImageRegistryCredential | undefined;
  /** Where traces and logs go. A secret. */
  readonly appInsights?: string | undefined;
  /** Where collected rows go: a container's address, signed for writing. A secret. */
  readonly uploadUrl?: string | undefined;
  /** Authorities that the storage's certificate is signed by, as PEM. */
  readonly storageCa?: string | undefined;
}

/** The scoring server's own port: it is not root, so none below 1024. */
const defaultPort = 5001;
/** Where the container finds its secrets and its data. */
const secretsPath = '/mnt/modelferry/secrets';
const dataPath = '/var/modelferry/data';
/** Name of the one container. */
export const containerName = 'scoring';
/** Tag that holds what the group was made from, so that the same again is known as such. */
export const contentTag = 'modelferry-content';
/** Tag that says whose the group is. */
export const ownerTag = 'modelferry-service';

/** Name of the container group of a service; names of services are names of groups. */
export function groupName(service: string): string {
  return service;
}

/** Name of the group that proves a change before the service's own group is touched. */
export function candidateName(service: string): string {
  const suffix = `-next-${hashOf(service).slice(0, 6)}`;
  return `${service.slice(0, 63 - suffix.length)}${suffix}`;
}

export function portOf({ port }: ServiceSettings): number {
  return port ?? defaultPort;
}

/** First part of the service's name on the internet: its own, or one that no other workspace makes. */
export function dnsLabelOf({ name, scope, settings }: Pick<DesiredService, 'name' | 'scope' | 'settings'>): string {
  const own = /^[a-z]/.test(name) ? name : `s${name}`;
  return settings.dnsNameLabel ?? `${own.slice(0, 54)}-${hashOf(`${scope}/${name}`).slice(0, 8)}`;
}

/** Writes a service as a container group. Secrets are in secure values and secret volumes alone. */
export function containerGroup(desired: DesiredService, parts: ContainerGroupParts): ContainerGroup {
  const { settings, name } = desired;
  const { image, location, registryCredential } = parts;
  const port = portOf(settings);
  const secret = secretFiles(desired, parts);
  const identity = settings.managedIdentity;
  const isTls = secret['tls.crt'] !== undefined;
  const probe = {
    httpGet: { path: '/v2/health/live', port, scheme: isTls ? 'https' : 'http' },
    initialDelaySeconds: settings.initialDelaySeconds,
    periodSeconds: settings.periodSeconds,
    timeoutSeconds: settings.timeoutSeconds,
    successThreshold: settings.successThreshold,
    failureThreshold: settings.failureThreshold,
  };
  const hasSecrets = Object.keys(secret).length > 0;
  const mounts = [
    ...(hasSecrets ? [{ name: 'secrets', mountPath: secretsPath, readOnly: true }] : []),
    ...(settings.collect ? [{ name: 'collected', mountPath: dataPath }] : []),
  ];
  const volumes = [
    ...(hasSecrets ? [{ name: 'secrets', secret }] : []),
    ...(settings.collect ? [{ name: 'collected', emptyDir: {} }] : []),
  ];
  return {
    location,
    tags: { [ownerTag]: `${desired.scope}/${name}`, [contentTag]: contentOf(desired, parts) },
    osType: 'Linux',
    restartPolicy: 'Always',
    ...(identity === undefined
      ? {}
      : { identity: { type: 'UserAssigned', userAssignedIdentities: { [identity]: {} } } }),
    ...(registryCredential === undefined ? {} : { imageRegistryCredentials: [registryCredential] }),
    ...(volumes.length === 0 ? {} : { volumes }),
    ipAddress: { type: 'Public', ports: [{ protocol: 'TCP', port }], dnsNameLabel: dnsLabelOf(desired) },
    containers: [
      {
        name: containerName,
        image,
        ports: [{ protocol: 'TCP', port }],
        resources: { requests: { cpu: settings.cpuCores, memoryInGB: settings.memoryGb } },
        environmentVariables: environmentOf(desired, parts, secret),
        ...(mounts.length === 0 ? {} : { volumeMounts: mounts }),
        livenessProbe: probe,
      },
    ],
  };
}

/** The group that proves a change: the same without a name on the internet, which the service's own group has. */
export function candidateOf(group: ContainerGroup): ContainerGroup {
  const { dnsNameLabel: _label, ...ipAddress } = group.ipAddress ?? { type: 'Public', ports: [] };
  return { ...group, ipAddress };
}

/** A group as it may be shown: without what is secret. */
export function withoutSecrets(group: ContainerGroup): ContainerGroup {
  const hidden = '(secret)';
  return {
    ...group,
    containers: group.containers.map((container) => ({
      ...container,
      environmentVariables: (container.environmentVariables ?? []).map(({ secureValue, ...shown }) =>
        secureValue === undefined ? shown : { ...shown, secureValue: hidden },
      ),
    })),
    ...(group.volumes === undefined
      ? {}
      : {
          volumes: group.volumes.map(({ secret, ...shown }) =>
            secret === undefined
              ? shown
              : { ...shown, secret: Object.fromEntries(Object.keys(secret).map((file) => [file, hidden])) },
          ),
        }),
    ...(group.imageRegistryCredentials === undefined
      ? {}
      : {
          imageRegistryCredentials: group.imageRegistryCredentials.map(({ password, ...shown }) =>
            password === undefined ? shown : { ...shown, password: hidden },
          ),
        }),
  };
}

function environmentOf(
  desired: DesiredService,
  { storageCa, appInsights }: ContainerGroupParts,
  secret: Readonly<Record<string, string>>,
): { name: string; value?: string; secureValue?: string }[] {
  const { settings } = desired;
  const file = (name: string): string => `${secretsPath}/${name}`;
  const own: Record<string, string> = {
    ...scoringEnvironment(desired),
    MODELFERRY_PORT: String(portOf(settings)),
    ...(secret['callers.json'] === undefined ? {} : { MODELFERRY_KEYS_FILE: file('callers.json') }),
    ...(secret['tls.crt'] === undefined
      ? {}
      : { MODELFERRY_TLS_CERTIFICATE_FILE: file('tls.crt'), MODELFERRY_TLS_KEY_FILE: file('tls.key') }),
    ...(settings.collect ? { MODELFERRY_DATA_DIR: dataPath } : {}),
    ...(secret['upload-url'] === undefined ? {} : { MODELFERRY_UPLOAD_SAS_FILE: file('upload-url') }),
    ...(storageCa === undefined || secret['upload-url'] === undefined
      ? {}
      : { NODE_EXTRA_CA_CERTS: file('storage-ca.pem') }),
  };
  return [
    ...Object.entries(own).map(([name, value]) => ({ name, value })),
    ...(appInsights === undefined ? [] : [{ name: appInsightsVariable, secureValue: appInsights }]),
  ];
}

/** Files of the secret volume, base64 by name. */
function secretFiles(
  { settings, secrets }: DesiredService,
  { uploadUrl, storageCa }: ContainerGroupParts,
): Record<string, string> {
  const files: Record<string, string | undefined> = {
    'callers.json': callersFile(settings, secrets),
    'tls.crt': secrets.tls?.certificate,
    'tls.key': secrets.tls?.key,
    'upload-url': uploadUrl,
    'storage-ca.pem': uploadUrl === undefined ? undefined : storageCa,
  };
  return Object.fromEntries(
    Object.entries(files).flatMap(([name, text]) =>
      text === undefined ? [] : [[name, Buffer.from(text).toString('base64')]],
    ),
  );
}

/** Says what a group is made from in one word; keyed, so that nobody tries out secrets against it. Signatures for storage are new each time. */
function contentOf(desired: DesiredService, { image, location, appInsights }: ContainerGroupParts): string {
  const { settings, secrets, name, scope } = desired;
  return createHmac('sha256', secrets.tokenSecret)
    .update(JSON.stringify([name, scope, image, location, settings, secrets, appInsights]))
    .digest('hex')
    .slice(0, 32);
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
