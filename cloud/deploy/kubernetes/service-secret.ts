import { createHmac } from 'node:crypto';
import type { DesiredService } from '../deployer.ts';
import { callersFile } from '../service-keys.ts';
import type { ObjectPlace } from './service-objects.ts';

/** Where pods find what is secret. */
const folder = '/etc/modelferry/secrets';

/** Names of what is in a service's secret. */
const files = {
  keys: 'keys.json',
  certificate: 'tls.crt',
  certificateKey: 'tls.key',
  uploadUrl: 'upload-url',
  storageCa: 'storage-ca.pem',
  appInsights: 'app-insights',
} as const;

/** Name of the secret that a service's keys, its TLS files and its access to storage are in. */
export function secretName(service: string): string {
  return `${service}-secrets`;
}

/** Content of the secret, base64 by name; undefined where nothing is secret. */
export function secretData(
  { settings, secrets }: DesiredService,
  place: ObjectPlace,
): Record<string, string> | undefined {
  const content = {
    [files.keys]: callersFile(settings, secrets),
    [files.certificate]: secrets.tls?.certificate,
    [files.certificateKey]: secrets.tls?.key,
    [files.uploadUrl]: place.uploadUrl,
    [files.storageCa]: place.uploadUrl === undefined ? undefined : place.storageCa,
    [files.appInsights]: place.appInsights,
  };
  const entries = Object.entries(content).flatMap(([name, text]): [string, string][] =>
    text === undefined ? [] : [[name, Buffer.from(text).toString('base64')]],
  );
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** Variables that name the files of the secret; files that are renewed are read again. @param data its content */
export function secretEnvironment(data: Readonly<Record<string, string>>): object[] {
  return variablesOf(Object.keys(data));
}

/** Variables of the TLS files alone. */
export function tlsEnvironment({ secrets }: DesiredService): object[] {
  return secrets.tls === undefined ? [] : variablesOf([files.certificate, files.certificateKey]);
}

function variablesOf(present: readonly string[]): object[] {
  const named = {
    MODELFERRY_KEYS_FILE: files.keys,
    MODELFERRY_TLS_CERTIFICATE_FILE: files.certificate,
    MODELFERRY_TLS_KEY_FILE: files.certificateKey,
    MODELFERRY_UPLOAD_SAS_FILE: files.uploadUrl,
    NODE_EXTRA_CA_CERTS: files.storageCa,
    MODELFERRY_APPLICATION_INSIGHTS_FILE: files.appInsights,
  };
  return Object.entries(named)
    .filter(([, file]) => present.includes(file))
    .map(([name, file]) => ({ name, value: `${folder}/${file}` }));
}

/** The volume, and where a container has it. */
export function secretVolume(service: string): { readonly volume: object; readonly mount: object } {
  return {
    volume: { name: 'secrets', secret: { secretName: secretName(service), defaultMode: 0o440 } },
    mount: { name: 'secrets', mountPath: folder, readOnly: true },
  };
}

/**
 * Says in a word what of the secret pods read at their start alone, so that a change of it starts new ones. Keyed, so that nobody tries out
 * secrets against it.
 */
export function startSecretMark({ secrets }: DesiredService, { appInsights }: ObjectPlace): string | undefined {
  if (appInsights === undefined) return undefined;
  return createHmac('sha256', secrets.tokenSecret).update(appInsights).digest('hex').slice(0, 16);
}

/** A secret without what is in it, for a plan that anybody may read. */
export function hiddenSecret(data: Readonly<Record<string, string>>): Record<string, string> {
  const hidden = Buffer.from('[secret]').toString('base64');
  return Object.fromEntries(Object.keys(data).map((key) => [key, hidden]));
}
