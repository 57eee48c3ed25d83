import { readFile } from 'node:fs/promises';
import { FerryError } from '../../shared/errors.ts';
import { parseVersionedName } from '../../shared/model/name.ts';
import { findImage } from '../images/image.ts';
import { type LabelChange, labelProblems, type Pairs } from '../models/labels.ts';
import type { Workspace } from '../workspace/workspace.ts';
import type { DesiredService } from './deployer.ts';
import { keyProblem, newSecrets, readSecrets, type ServiceSecrets } from './service-keys.ts';
import type { ServiceRecord } from './service-records.ts';
import type { GivenSettings } from './settings/definitions.ts';
import { completeSettings, refuseProblems, settingProblems } from './settings/service-settings.ts';
import { mergeVersions } from './settings/service-versions.ts';
import { findSample } from './smoke-test.ts';
import type { TargetReference } from './target.ts';

/** What the user asks of a service. */
export interface ServiceRequest {
  readonly name: string;
  readonly target: TargetReference;
  /** `name` or `name:version`; the latest version without one. */
  readonly image: string;
  readonly settings: GivenSettings;
  /** Keys of the user's own. @default made here, or kept */
  readonly keys?: Partial<Pick<ServiceSecrets, 'primary' | 'secondary'>>;
  readonly description?: string;
  readonly tags?: Pairs;
  readonly properties?: Pairs;
}

/** A change of a service; what is not named stays. */
export interface ServiceChange {
  readonly image?: string;
  /** Goes over the settings that there are. */
  readonly settings?: GivenSettings;
  /** Replaces all settings, in place of {@link settings}. */
  readonly allSettings?: GivenSettings;
  readonly keys?: ServiceRequest['keys'];
  readonly labels?: LabelChange;
}

/**
 * Works out all that a new service is to be. Touches nothing.
 * @throws {FerryError} SERVICE_INVALID naming everything that is wrong with the request, IMAGE_NOT_FOUND
 */
export async function desiredOf(workspace: Workspace, request: ServiceRequest): Promise<DesiredService> {
  const { name, target, settings, description = '', tags = {}, properties = {} } = request;
  refuseProblems(`create the service "${name}"`, [
    ...settingProblems(name, target.kind, settings),
    ...labelProblems({ tags, properties, description }),
    ...keyProblems(request.keys),
  ]);
  return desiredWith(workspace, request, await secretsOf(workspace, request));
}

/**
 * Works out all that a service is to be after a change. Touches nothing.
 * @throws {FerryError} SERVICE_INVALID naming everything that is wrong with the change, IMAGE_NOT_FOUND
 */
export async function changedService(
  workspace: Workspace,
  before: ServiceRecord,
  change: ServiceChange,
): Promise<DesiredService> {
  const { name, target } = before;
  const settings = change.allSettings ?? mergeSettings(before.given, change.settings ?? {});
  refuseProblems(`update the service "${name}"`, [
    ...settingProblems(name, target.kind, settings),
    ...keyProblems(change.keys),
  ]);
  const request = {
    name,
    target,
    image: change.image ?? `${before.image.name}:${before.image.version}`,
    settings,
    ...(change.keys && { keys: change.keys }),
  };
  const isTlsGiven = (change.allSettings ?? change.settings)?.tlsCertificateFile !== undefined;
  return desiredWith(workspace, request, await secretsOf(workspace, { ...request, keepsTls: !isTlsGiven }));
}

/** Gives all that a service was, as it is recorded. */
export function recordedService(workspace: Workspace, record: ServiceRecord, secrets: ServiceSecrets): DesiredService {
  const { name, target, given, image } = record;
  return desiredWith(workspace, { name, target, settings: given, image: `${image.name}:${image.version}` }, secrets);
}

/** What excludes each other takes each other's place: a number of replicas and scaling by load, tags and a condition. */
export function mergeSettings(before: GivenSettings, change: GivenSettings): GivenSettings {
  const dropped: (keyof GivenSettings)[] = [];
  const scaling = [
    'autoscaleEnabled',
    'autoscaleMinReplicas',
    'autoscaleMaxReplicas',
    'autoscaleTargetUtilization',
  ] as const;
  if (change.numReplicas !== undefined) dropped.push(...scaling);
  if (scaling.some((name) => change[name] !== undefined && change[name] !== false)) dropped.push('numReplicas');
  if (change.targetCondition !== undefined) dropped.push('deviceTags');
  if (change.deviceTags !== undefined) dropped.push('targetCondition');
  if (change.tokenAuthEnabled === true) dropped.push('authEnabled');
  if (change.authEnabled === true) dropped.push('tokenAuthEnabled');
  const kept = Object.entries(before).filter(([name]) => !dropped.includes(name as keyof GivenSettings));
  const { versions: _versions, traffic: _traffic, mirror: _mirror, ...others } = change;
  const { versions: _before, traffic: _shares, mirror: _copies, ...rest } = Object.fromEntries(kept) as GivenSettings;
  return { ...rest, ...others, ...mergeVersions(before, change) };
}

function keyProblems(keys: ServiceRequest['keys'] = {}): string[] {
  return Object.entries(keys).flatMap(([name, key]) => {
    const problem = key === undefined ? undefined : keyProblem(key);
    return problem === undefined ? [] : [`the ${name} key: ${problem}`];
  });
}

/** Gives the secrets that a service is to have: those that it has, and over them what was asked for. */
async function secretsOf(
  workspace: Workspace,
  {
    name,
    settings,
    keys = {},
    keepsTls = false,
  }: Pick<ServiceRequest, 'name' | 'settings' | 'keys'> & { readonly keepsTls?: boolean },
): Promise<ServiceSecrets> {
  const { tls: before, ...others } = (await readSecrets(workspace, name)) ?? newSecrets();
  const { tlsCertificateFile: certificate, tlsKeyFile: key } = settings;
  if (certificate === undefined || key === undefined) return { ...others, ...keys };
  // Where they are not given anew the files may be gone since: what the service has goes on being used.
  const tls = keepsTls && before !== undefined ? before : await readTls({ certificate, key });
  return { ...others, ...keys, ...(tls && { tls }) };
}

async function readTls(files: { readonly certificate: string; readonly key: string }): Promise<ServiceSecrets['tls']> {
  const [certificate, key] = await Promise.all(
    [files.certificate, files.key].map((path) =>
      readFile(path, 'utf8').catch((cause: unknown) => {
        throw new FerryError('FILE_NOT_FOUND', `Cannot read "${path}": a PEM file was wanted`, { cause });
      }),
    ),
  );
  const { createSecureContext } = await import('node:tls');
  try {
    createSecureContext({ cert: certificate, key });
  } catch {
    throw new FerryError(
      'SERVICE_INVALID',
      `Cannot use "${files.certificate}" with "${files.key}": they do not belong together, a certificate and its key as PEM were wanted`,
    );
  }
  return { certificate: certificate ?? '', key: key ?? '' };
}

function desiredWith(
  workspace: Workspace,
  { name, target, image, settings }: Pick<ServiceRequest, 'name' | 'target' | 'image' | 'settings'>,
  secrets: ServiceSecrets,
): DesiredService {
  const found = findImage(workspace.database, parseVersionedName(image));
  return {
    name,
    target,
    image: found,
    given: settings,
    settings: completeSettings(target.kind, settings),
    secrets,
    sample: findSample(workspace.database, found),
    scope: workspace.scope,
  };
}
