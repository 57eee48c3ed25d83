import { parseVersionedName } from '../../shared/model/name.ts';
import { findImage } from '../images/image.ts';
import { type LabelChange, labelProblems, type Pairs } from '../models/labels.ts';
import type { Workspace } from '../workspace/workspace.ts';
import type { DesiredService } from './deployer.ts';
import { readServiceFiles } from './service-files.ts';
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

/** Says everything that is wrong with a request, before anything else is looked at. */
export function requestProblems(request: Omit<ServiceRequest, 'image'>): string[] {
  const { name, target, settings, description = '', tags = {}, properties = {}, keys } = request;
  return [
    ...settingProblems(name, target.kind, settings),
    ...labelProblems({ tags, properties, description }),
    ...keyProblems(keys),
  ];
}

/**
 * Works out all that a new service is to be. Touches nothing.
 * @throws {FerryError} SERVICE_INVALID naming everything that is wrong with the request, IMAGE_NOT_FOUND
 */
export async function desiredOf(workspace: Workspace, request: ServiceRequest): Promise<DesiredService> {
  refuseProblems(`create the service "${request.name}"`, requestProblems(request));
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
  return desiredWith(
    workspace,
    request,
    await secretsOf(workspace, { ...request, newFiles: change.allSettings ?? change.settings ?? {} }),
  );
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
  if (change.modulesFile === '') dropped.push('modulesFile');
  const kept = Object.entries(before).filter(([name]) => !dropped.includes(name as keyof GivenSettings));
  const { versions: _versions, traffic: _traffic, mirror: _mirror, modulesFile, ...others } = change;
  const { versions: _before, traffic: _shares, mirror: _copies, ...rest } = Object.fromEntries(kept) as GivenSettings;
  return { ...rest, ...others, ...(modulesFile && { modulesFile }), ...mergeVersions(before, change) };
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
    newFiles = settings,
  }: Pick<ServiceRequest, 'name' | 'settings' | 'keys'> & {
    /** Of the settings those that are given anew: their files are read. @default all */
    readonly newFiles?: GivenSettings;
  },
): Promise<ServiceSecrets> {
  const { tls, modules, ...others } = (await readSecrets(workspace, name)) ?? newSecrets();
  // Where they are not given anew the files may be gone since: what the service has goes on being used.
  const { tlsCertificateFile, tlsKeyFile, modulesFile } = settings;
  const keepsTls = tls !== undefined && newFiles.tlsCertificateFile === undefined && newFiles.tlsKeyFile === undefined;
  const keepsModules = modules !== undefined && newFiles.modulesFile === undefined;
  const read = await readServiceFiles({
    ...(!keepsTls && { tlsCertificateFile, tlsKeyFile }),
    ...(!keepsModules && { modulesFile }),
  });
  return {
    ...others,
    ...keys,
    ...(keepsTls && tlsCertificateFile !== undefined && { tls }),
    ...(keepsModules && modulesFile !== undefined && { modules }),
    ...read,
  };
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
